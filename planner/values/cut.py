"""Where a network is cut: the tensors that cross, and the places that are no cut with the reason."""

from __future__ import annotations

import msgspec

__all__ = ["Cut", "Rejected"]


def __dir__() -> list[str]:
    return __all__


class Cut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frontier: the tensors that cross from head to tail. The head is the down-set of nodes that make them."""

    index: int  # position in the enumeration, input first
    tensors: tuple[str, ...]  # 1..k names, graph order
    after: str  # name of the last head node, "input" for the empty head
    head: tuple[int, ...]  # indices of head nodes
    elements: int
    bytes: int  # uncompressed
    head_macs: int
    head_parameters: int
    head_weight_bytes: int
    layer: str = ""  # what tables call the place: the module that ends here; empty: not named
    head_share: float = 0.0  # of the network's MACs

    @property
    def name(self) -> str:
        """The crossing tensors, as candidates name a cut."""
        return "+".join(self.tensors)


class Rejected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place in the graph that is no cut, and why."""

    tensors: tuple[str, ...]
    after: str
    reason: str
