"""What a training took: steps, inputs, minutes and the losses that it ended with."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

__all__ = ["Spent", "added"]


def __dir__() -> list[str]:
    return __all__


class Spent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a training took: it is reported beside what it gave."""

    steps: int
    images: int  # inputs that were seen, each as often as it was
    minutes: float  # of this machine, killed runs not counted
    losses: dict[str, float]  # by term, averaged over the last steps


def added(parts: Sequence[Spent]) -> Spent:
    """What successive trainings took together, with the losses of the last."""
    return Spent(
        steps=sum(part.steps for part in parts),
        images=sum(part.images for part in parts),
        minutes=sum(part.minutes for part in parts),
        losses=parts[-1].losses,
    )
