"""What reading did to the pictures of a dataset, in one line: grey, much reduced or enlarged, cropped, left out."""

from __future__ import annotations

from splitpoint.planner.samples.dataset import Dataset
from splitpoint.profiles.units import format_fraction

__all__ = ["describe_changes"]


def __dir__() -> list[str]:
    return __all__


MUCH = 2.0  # a picture reduced or enlarged by more than this is counted
STRETCHED = 1.1  # and one whose proportions changed by more than this


def describe_changes(dataset: Dataset) -> str | None:
    """One line that counts the pictures which are not what their files show; None when there are none."""
    changes = [sample.changes for sample in dataset.samples if sample.changes is not None]
    reduced = [change.scale for change in changes if change.scale < 1 / MUCH]
    enlarged = [change.scale for change in changes if change.scale > MUCH]
    cropped = [change.cropped for change in changes if change.cropped > 0]
    parts = [
        (sum(change.grey for change in changes), "grey"),
        (sum(change.colour_lost for change in changes), "coloured and turned grey"),
        (len(reduced), f"reduced by more than {MUCH:g}x (up to {1 / min(reduced, default=1):.3g}x)"),
        (len(enlarged), f"enlarged by more than {MUCH:g}x (up to {max(enlarged, default=1):.3g}x)"),
        (sum(change.stretch > STRETCHED for change in changes), "stretched"),
        (len(cropped), f"cropped (up to {format_fraction(max(cropped, default=0))} cut off)"),
    ]
    texts = [f"{count} {what}" for count, what in parts if count]
    if dataset.skipped:
        texts.append(f"{len(dataset.skipped)} damaged and left out")
    return f"of {len(dataset) + len(dataset.skipped)} pictures: {', '.join(texts)}" if texts else None
