"""``splitpoint profile --data``: what the tensors at every cut are like to code, from one pass over the inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from splitpoint.planner.coding.context import spread
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.profiling.compressibility import Compressibility, measure
from splitpoint.planner.samples.dataset import Dataset, NetworkInputs
from splitpoint.planner.samples.readers import load_data
from splitpoint.planner.setup.loading import check_inputs, load_source
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec, guess_spec
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.torch_model import is_torch_spec

__all__ = ["INPUTS", "TARGET_DB", "choose", "data_answer", "load_with_data", "measure_cuts"]


def __dir__() -> list[str]:
    return __all__


Document = dict[str, Any]
INPUTS = 64  # statistics of a tensor's values need few inputs
TARGET_DB = 20.0  # a tensor this exact usually costs a classifier about a point


def load_with_data(
    model: str, source: str, input_shape: tuple[int, ...] | None, *, limit: int = INPUTS
) -> tuple[ModelGraph, Dataset, str | None]:
    """The network, at most `limit` inputs spread over the data, and what was assumed of them.

    The input block is the data's own (a factory that gives a `Dataset`), or guessed from the model's input or
    `input_shape`. Raises `ProfileError`.
    """
    spec: InputSpec | None = None
    assumed: str | None = None
    if Path(source).exists():
        if input_shape is not None:
            spec, assumed = guess_spec(input_shape, "float32")
        elif not is_torch_spec(model):
            tensor = load_source(model, None).inputs[0]
            spec, assumed = guess_spec(tensor.shape, tensor.dtype)
    dataset = load_data(source, spec)
    image = dataset.spec.kind == "image"
    shape = dataset.spec.shape if image else tuple(np.asarray(dataset.samples[0].tensor).shape)
    graph = load_source(model, shape)
    check_inputs(dataset, graph, at=model)
    return graph, dataset.select(spread(len(dataset), limit)), assumed


def choose(cuts: Sequence[Cut], index: int | None) -> list[Cut]:
    """All cuts, or the one of this number; raises `ProfileError` naming the numbers there are."""
    chosen = [cut for cut in cuts if index is None or cut.index == index]
    if not chosen:
        raise ProfileError(
            f"there is no cut {index}, the last is {cuts[-1].index}", fix="splitpoint cuts MODEL lists them"
        )
    return chosen


def measure_cuts(
    graph: ModelGraph, cuts: Sequence[Cut], dataset: Dataset, *, threads: int, step: Callable[[], None]
) -> dict[str, Compressibility]:
    """Statistics by tensor of all `cuts`; one input's tensors are in memory at a time. `step` follows each input."""
    runs = NetworkRuns(graph, {"calibration": NetworkInputs(dataset)}, threads=threads)

    def rows() -> Any:
        for row in runs.sweep(cuts, "calibration", len(dataset)):
            yield row
            step()

    return measure(rows(), dict.fromkeys(name for cut in cuts for name in cut.tensors))


def data_answer(
    cuts: Sequence[Cut], measured: Mapping[str, Compressibility], *, target_db: float, assumed: str | None
) -> Document:
    """One row for each tensor of each cut; what is estimated says so in its name."""
    return {
        "inputs": next(iter(measured.values())).inputs,
        "target_db": target_db,
        "notes": [] if assumed is None else [assumed],
        "cuts": [_row(cut, measured[name], target_db) for cut in cuts for name in cut.tensors],
    }


def _row(cut: Cut, found: Compressibility, target_db: float) -> Document:
    return {
        "index": cut.index,
        "after": cut.after,
        "tensor": found.tensor,
        "shape": list(found.shape),
        "elements": found.elements,
        "zero_fraction": found.zero_fraction,
        "low": found.low,
        "high": found.high,
        "entropy_bit": {str(bits): value for bits, value in found.entropy_bit.items()},
        "sqnr_db": {str(bits): _finite(value) for bits, value in found.sqnr_db.items()},  # None: no error at all
        "histogram": list(found.histogram),
        "channels": found.channels,
        "components_95": found.components(0.95),
        "components_99": found.components(0.99),
        "spectrum": None if found.spectrum is None else [float(value) for value in found.spectrum],
        "correlation": found.correlation,
        "scalar_estimated_bit": found.scalar_estimated_bit(target_db),
        "klt_estimated_bit": found.klt_estimated_bit(target_db),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
