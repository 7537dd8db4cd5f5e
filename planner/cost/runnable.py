"""The cuts whose halves both sides run, and what there is to say of accelerators that run only a part of a network."""

from __future__ import annotations

from splitpoint.planner.cost.memory import is_quantized
from splitpoint.planner.cost.price import Party, other_half
from splitpoint.planner.cuts.enumeration import CutList
from splitpoint.planner.values.cut import Rejected
from splitpoint.planner.values.plurals import count_text
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["runnable_cuts", "unit_notes"]


def __dir__() -> list[str]:
    return __all__


def runnable_cuts(graph: ModelGraph, cuts: CutList, edge: Party, server: Party) -> CutList:
    """`cuts` without those of which an accelerator refuses a half, which are rejected with the reason."""
    reasons = [edge.refusal(cut.head) or server.refusal(other_half(graph, cut)) for cut in cuts.cuts]
    refused = tuple(
        Rejected(tensors=cut.tensors, after=cut.after, reason=reason)
        for cut, reason in zip(cuts.cuts, reasons, strict=True)
        if reason is not None
    )
    kept = tuple(cut for cut, reason in zip(cuts.cuts, reasons, strict=True) if reason is None)
    return CutList(cuts=kept, rejected=(*cuts.rejected, *refused))


def unit_notes(graph: ModelGraph, cuts: CutList, edge: Party, server: Party) -> tuple[str, ...]:
    """Of each side with an accelerator: the layers that fall back to its CPU, or the cuts that are left out."""
    notes: list[str] = []
    for side in (edge, server):
        fallen_back = None if side.units is None else side.units.note()
        refusal = side.refusal(range(len(graph.nodes)))
        if fallen_back is not None:
            notes.append(fallen_back)
        if refusal is not None:
            refused = sum(place.reason.endswith(f"not run by {side.device.name}") for place in cuts.rejected)
            notes.append(
                f"{refusal}: {count_text(refused, 'cut')} and the network as a whole are left out{_advice(graph, side)}"
            )
    return tuple(notes)


def _advice(graph: ModelGraph, side: Party) -> str:
    """What to type where only the precision is wrong."""
    accelerator = side.device.accelerator
    wants_int8 = accelerator is not None and accelerator.takes == ("int8",)
    return "; precisions: [fp32, int8] adds an int8 network" if wants_int8 and not is_quantized(graph) else ""
