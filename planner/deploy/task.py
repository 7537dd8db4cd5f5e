"""What a network is for, and how its outputs are read: the `task:` of a configuration and of plan.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from splitpoint.profiles.errors import ProfileError

__all__ = ["TASKS", "MetricUse", "Task", "TaskName"]


def __dir__() -> list[str]:
    return __all__


TaskName = Literal["classify", "detect", "segment", "embed", "regress", "sequence", "tensor", "custom"]

TASKS: dict[TaskName, str] = {  # each with what its answer is
    "classify": "one class of K",
    "detect": "boxes with classes",
    "segment": "a class for every pixel",
    "embed": "a vector that is compared with other vectors",
    "regress": "numbers",
    "sequence": "a text or a list of tokens",
    "tensor": "values of its output tensors",
    "custom": "judged by a metric of your own",
}

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task with the options of its metric; an option of another task is refused."""

    name: TaskName  # what the network answers
    outputs: tuple[str, ...] = ()  # names of the outputs that the metric reads; none: those that the task expects
    top: Annotated[int, msgspec.Meta(ge=1)] = 1  # classify: right when among so many classes of the highest scores
    decode: str = ""  # detect, sequence: how outputs become boxes or tokens
    score: Share = 0.3  # detect: least score of a box that counts in F1
    nms: Share = 0.5  # detect: boxes of one class that overlap by more than this IoU are one
    anchors: str = ""  # detect: an .npy file (N, 4) of an SSD's prior boxes: centre and size, 0..1
    blank: int | None = None  # sequence: index of CTC's blank; -1: the last; None: found
    pad: Annotated[int, msgspec.Meta(ge=0)] | None = None  # sequence: token that only fills up the end of an output
    axis: Annotated[int, msgspec.Meta(ge=1)] | None = None  # segment, sequence: of the output's classes; None: found
    threshold: float | None = None  # segment: of an output with one value a pixel; None: found
    metric: str = ""  # custom: "file.py:function"

    def __post_init__(self) -> None:
        """Refuse options of other tasks; msgspec adds the place in the file."""
        for field in msgspec.structs.fields(self):
            owners = _OWNERS.get(field.name)
            if owners is not None and self.name not in owners and getattr(self, field.name) != field.default:
                raise ProfileError(f"{field.name} is for task {' or '.join(owners)}, this task is {self.name}")
        if (self.name == "custom") != bool(self.metric):
            raise ProfileError(
                "task custom needs a metric", fix="--metric file.py:function, or metric: in the configuration"
            )


_OWNERS: dict[str, tuple[TaskName, ...]] = {
    "top": ("classify",),
    "decode": ("detect", "sequence"),
    "score": ("detect",),
    "nms": ("detect",),
    "anchors": ("detect",),
    "blank": ("sequence",),
    "pad": ("sequence",),
    "axis": ("segment", "sequence"),
    "threshold": ("segment",),
    "metric": ("custom",),
}


class MetricUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The metric of a plan in words, and what candidates are compared with."""

    name: str
    unit: str
    definition: str
    against: Literal["labels", "unsplit"]  # known answers, or those of the unsplit network
    sha256: str = ""  # of the file with a metric of the user's own
