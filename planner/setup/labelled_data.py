"""The inputs of a plan with what its task takes as labels: classes by folder, boxes from files beside the pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from splitpoint.planner.samples.box_labels import find_labels, with_boxes
from splitpoint.planner.samples.dataset import Dataset
from splitpoint.planner.samples.masks import attach_masks
from splitpoint.planner.samples.readers import load_data
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec

__all__ = ["load_labelled"]


def __dir__() -> list[str]:
    return __all__


def load_labelled(config: PlanConfig, spec: InputSpec | None) -> tuple[Dataset, list[str]]:
    """The inputs of `config` with their labels, and what to tell the user of where these were found."""
    task, data, seed = config.asked_task(), config.data, config.search.seed
    if task is None or task.name != "detect":
        dataset = load_data(data.source, spec, seed=seed)
        if data.labels is not None and (task is None or task.name != "segment"):
            raise ProfileError(
                "labels in files are boxes, for task detect, or masks, for task segment",
                at="$.data.labels",
                fix="--task detect or --task segment, or no labels",
            )
        return dataset if data.labels is None else attach_masks(dataset, Path(data.labels)), []
    found = find_labels(Path(data.source))
    pictures, labels = found if found is not None else (data.source, None)
    notes = [f"labels: YOLO text of {labels}"] if labels is not None and data.labels is None else []
    dataset = load_data(str(pictures), spec, seed=seed)
    chosen = labels if data.labels is None else Path(data.labels)
    if chosen is not None:
        return with_boxes(dataset, chosen), notes
    if dataset.labels is not None:
        notes.append("classes of pictures are no boxes: compared with the unsplit network's")
        samples = tuple(dataclasses.replace(sample, label=None) for sample in dataset.samples)
        dataset = dataclasses.replace(dataset, samples=samples, classes=None)
    return dataset, notes
