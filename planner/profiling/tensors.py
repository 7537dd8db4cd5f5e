"""``splitpoint profile --data``: what the tensors at every cut are like to code, from one pass over the inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

__all__ = ["INPUTS", "TARGET_DB", "choose", "load_with_data", "measure_cuts"]


def __dir__() -> list[str]:
    return __all__


INPUTS = 64  # statistics of a tensor's values need few inputs
TARGET_DB = 20.0  # a tensor this exact usually costs a classifier about a point


def load_with_data(
    model: str, source: str, input_shape: tuple[int, ...] | None, *, limit: int = INPUTS, skip_damaged: bool = False
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
    dataset = load_data(source, spec, skip_damaged=skip_damaged)
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
