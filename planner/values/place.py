"""Words for where a candidate cuts the network."""

from __future__ import annotations

from splitpoint.planner.values.candidate import GIVEN, Candidate

__all__ = ["place_text"]


def __dir__() -> list[str]:
    return __all__


def place_text(candidate: Candidate, *, with_variant: bool = False) -> str:
    """Where `candidate` cuts: "blocks.10/add", "send picture" or "all on device".

    `with_variant` puts the name of a network other than the given one in front: "int8: blocks.10/add".
    """
    texts = {"device": "all on device", "server": "send picture", "split": candidate.cut}
    prefix = f"{candidate.variant}: " if with_variant and candidate.variant != GIVEN else ""
    return prefix + texts[candidate.placement]
