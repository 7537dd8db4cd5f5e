"""``splitpoint profile --data``: what the tensors at every cut are like to code, from one pass over the inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from splitpoint.planner.coding.context import spread
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.profiling.compressibility import Compressibility, measure
from splitpoint.planner.samples.dataset import Dataset, NetworkInputs
from splitpoint.planner.setup.inputs import load_inputs
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.input_shapes import Shapes
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["INPUTS", "TARGET_DB", "choose", "load_with_data", "measure_cuts"]


def __dir__() -> list[str]:
    return __all__


INPUTS = 64  # statistics of a tensor's values need few inputs
TARGET_DB = 20.0  # a tensor this exact usually costs a classifier about a point


def load_with_data(
    model: str,
    source: str,
    shapes: Shapes | None,
    *,
    constants: Mapping[str, Any] | None = None,
    limit: int = INPUTS,
    skip_damaged: bool = False,
) -> tuple[ModelGraph, Dataset, str | None]:
    """The network, at most `limit` inputs spread over the data, and what was assumed of them.

    The input block is the data's own (a factory that gives a `Dataset`), or guessed. Raises `ProfileError`.
    """
    loaded = load_inputs(model, source, spec=None, shapes=shapes, constants=constants, skip_damaged=skip_damaged)
    chosen = loaded.dataset.select(spread(len(loaded.dataset), limit))
    return loaded.graph, chosen, "; ".join(loaded.notes) or None


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
