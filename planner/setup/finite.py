"""Outputs of the unsplit network that are not finite, and the first tensor where that begins."""

from __future__ import annotations

from collections.abc import Sequence

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.deploy.expose import expose
from splitpoint.planner.quality.nonfinite import find_origin, name_of_values
from splitpoint.planner.samples.dataset import Dataset, NetworkInputs
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session

__all__ = ["refuse_not_finite"]


def __dir__() -> list[str]:
    return __all__


def refuse_not_finite(graph: ModelGraph, outputs: Sequence[Array], data: Dataset, index: int) -> None:
    """Raise `ProfileError` when one of the `outputs` for input number `index` of `data` has NaN or infinity."""
    bad = [(tensor.name, name_of_values(y)) for tensor, y in zip(graph.outputs, outputs, strict=True)]
    wrong = next(((name, values) for name, values in bad if values is not None), None)
    if wrong is None:
        return
    makes = {name for node in graph.nodes for name in node.outputs if name in graph.tensors}
    names = sorted(name for name in makes if graph.tensors[name].dtype.startswith("float"))
    session = open_session(expose(whole_bytes(graph), names), level="basic", threads=1, name=graph.name)
    tensors = session.run(graph.feeds(NetworkInputs(data)[index]))
    origin = find_origin(graph.nodes, {name: name_of_values(array) for name, array in tensors.items()}, wrong[0])
    where = ""
    if origin is not None:
        after = f", of {', '.join(origin.infinite_inputs)} with infinity" if origin.infinite_inputs else ""
        where = f": first in {origin.tensor!r}, which {origin.op_type} {origin.node!r} makes{after}"
    raise ProfileError(
        f"the unsplit network gives {wrong[1]} in {wrong[0]!r}{where}",
        at=data.samples[index].name,
        fix="check the weights and the input: block's scale, mean and std; float16 ends at 65504",
    )
