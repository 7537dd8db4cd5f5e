"""The inputs of a plan with what its task takes as labels: classes, or boxes and masks from files beside them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from splitpoint.planner.samples.box_labels import find_labels, with_boxes
from splitpoint.planner.samples.dataset import Dataset
from splitpoint.planner.samples.masks import attach_masks
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.profiles.errors import ProfileError

__all__ = ["attach_labels", "find_pictures"]


def __dir__() -> list[str]:
    return __all__


def find_pictures(config: PlanConfig) -> tuple[str, Path | None]:
    """Where the inputs are, and the file or folder of their labels; None: they have none, or have them inside.

    Raises `ProfileError` where labels are given that the task does not take.
    """
    task, data = config.asked_task(), config.data
    given = None if data.labels is None else Path(data.labels)
    if task is not None and task.name == "detect":
        pictures, labels = find_labels(Path(data.source)) or (data.source, None)
        return str(pictures), given or labels
    if given is not None and (task is None or task.name != "segment"):
        raise ProfileError(
            "labels in files are boxes (task detect) or masks (task segment)",
            at="$.data.labels",
            fix="--task detect or --task segment, or no labels",
        )
    return data.source, given


def attach_labels(dataset: Dataset, config: PlanConfig, labels: Path | None) -> tuple[Dataset, list[str]]:
    """The inputs with the `labels` that `find_pictures` found, and what to tell the user of them."""
    task = config.asked_task()
    if labels is not None and task is not None and task.name == "segment":
        return attach_masks(dataset, labels), []
    if task is None or task.name != "detect":
        return dataset, []
    if labels is not None:
        notes = [] if config.data.labels is not None else [f"labels: YOLO text of {labels}"]
        return with_boxes(dataset, labels), notes
    if dataset.labels is None:
        return dataset, []
    samples = tuple(dataclasses.replace(sample, label=None) for sample in dataset.samples)
    note = "classes of pictures are no boxes: compared with the unsplit network's"
    return dataclasses.replace(dataset, samples=samples, classes=None), [note]
