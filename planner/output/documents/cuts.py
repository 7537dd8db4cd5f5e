"""The document of ``splitpoint cuts``: every cut, every place that is none, and what is not counted."""

from __future__ import annotations

from collections.abc import Mapping

from splitpoint.planner.cuts.enumeration import CutList
from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["CutRow", "CutsDocument", "RefusedPlace", "cuts_document"]


def __dir__() -> list[str]:
    return __all__


class CutRow(Value, frozen=True, kw_only=True):
    """A place where the network may be cut; head figures are of everything before it."""

    index: int
    layer: str  # the module that ends here, or the operator: the name by which plans call the place
    after: str  # name of the last operator before it
    tensors: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    elements: int
    bytes: int  # uncompressed
    head_macs: int
    head_flops: int
    head_share: float  # of the network's MACs
    head_parameters: int
    head_weight_bytes: int
    head_s: float | None = None  # on the device; this and the seconds below only where devices and a link are given
    link_s: float | None = None  # uncompressed; None also where its message can never arrive
    tail_s: float | None = None  # on the server
    latency_s: float | None = None  # of all three
    fallen_back: int | None = None  # operators of the head that the device's accelerator lacks, and its CPU runs


class RefusedPlace(Value, frozen=True, kw_only=True):
    """A place that is no cut, and why."""

    tensors: tuple[str, ...]
    after: str
    reason: str


class CutsDocument(Document, frozen=True, kw_only=True, tag="cuts"):
    """The answer of ``splitpoint cuts``."""

    model: str
    macs: int
    parameters: int
    cuts: tuple[CutRow, ...]
    refused: tuple[RefusedPlace, ...]
    inputs: tuple[str, ...] = ()  # what was decided of the inputs: shapes fixed, constants
    uncounted: Mapping[str, int]  # operators without a MAC count: type -> how many
    timed: str | None = None  # on which device, over which link, to which server; None: without seconds
    units: tuple[str, ...] = ()  # of each side with an accelerator: the layers that fall back to its CPU


def cuts_document(graph: ModelGraph, cuts: CutList) -> CutsDocument:
    """Every cut, every refused place, and the operators that are not counted."""
    return CutsDocument(
        model=graph.name,
        macs=graph.macs,
        parameters=graph.parameters,
        cuts=tuple(_cut_row(graph, cut) for cut in cuts.cuts),
        refused=tuple(
            RefusedPlace(tensors=rejected.tensors, after=rejected.after, reason=rejected.reason)
            for rejected in cuts.rejected
        ),
        inputs=graph.fixed,
        uncounted=dict(graph.uncounted),
    )


def _cut_row(graph: ModelGraph, cut: Cut) -> CutRow:
    tensors = [graph.tensors[name] for name in cut.tensors]
    return CutRow(
        index=cut.index,
        layer=cut.layer or cut.after,
        after=cut.after,
        tensors=cut.tensors,
        shapes=tuple(tuple(tensor.shape) for tensor in tensors),
        dtypes=tuple(tensor.dtype for tensor in tensors),
        elements=cut.elements,
        bytes=cut.bytes,
        head_macs=cut.head_macs,
        head_flops=2 * cut.head_macs,
        head_share=cut.head_macs / graph.macs if graph.macs else 0.0,
        head_parameters=cut.head_parameters,
        head_weight_bytes=cut.head_weight_bytes,
    )
