"""plan.yaml: what a plan says of itself. Types and checks only; `planner.deploy.plan` runs it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine.machine import Machine
from splitpoint.profiles.network.inputs import InputSpec

__all__ = [
    "FORMAT",
    "CodecChoice",
    "CutChoice",
    "IOTensor",
    "ModelSource",
    "Placement",
    "PlanFile",
    "PointFile",
    "ProfileSource",
    "SearchReport",
    "check_format",
]


def __dir__() -> list[str]:
    return __all__


FORMAT = "3.0"

Placement = Literal["split", "device", "server"]


class IOTensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tensor at the model's or a partition's edge."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class ModelSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network the plan was made for."""

    name: str
    source: str
    source_sha256: str
    sha256: str  # of the canonical form
    input: IOTensor
    outputs: tuple[IOTensor, ...]


class CutChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where it is cut: the tensors that cross, and the node after which they do."""

    tensors: tuple[IOTensor, ...]
    after: str


class CodecChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the crossing tensors are coded."""

    name: str
    id: int
    rate: Annotated[int, msgspec.Meta(ge=0)]
    rate_label: str
    boundary: Literal["symbols", "float32", "channel_symbols", "picture", "none"]
    needs_splitpoint: tuple[Literal["device", "server"], ...]  # sides that cannot do with ONNX Runtime alone


class ProfileSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device, server or link profile by name and content."""

    name: str
    sha256: str


class SearchReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the point was found."""

    seed: int
    trials: int
    evaluations: int
    candidates: int
    objectives: tuple[str, ...]


class PointFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """points/N/point.yaml: one point of the front, enough to export it without searching again."""

    number: Annotated[int, msgspec.Meta(ge=1)]
    variant: str
    placement: Placement
    cut: CutChoice | None
    codec: CodecChoice
    predicted: Cost
    search: Accuracy

    def __post_init__(self) -> None:
        """A split has a cut, and nothing else has."""
        if (self.placement == "split") != (self.cut is not None):
            raise ValueError(f"placement {self.placement!r} with{'out' if self.cut is None else ''} a cut")


class PlanFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of plan.yaml."""

    format: str
    created_by: str
    created: str
    point: int  # number on the front, 1 first
    placement: Placement
    variant: str
    files: dict[str, str]  # name -> SHA-256, of every file that verify and run read
    contents: dict[str, str] = {}  # every other file of the directory, by its path -> SHA-256
    external: dict[str, str] = {}  # files of `files` that are not stored here (--no-data) -> where they came from
    model: ModelSource
    input: InputSpec
    task: Task
    metric: MetricUse
    cut: CutChoice | None
    codec: CodecChoice
    predicted: Cost
    search: Accuracy
    report: Accuracy | None
    skipped: Annotated[int, msgspec.Meta(ge=0)] = 0  # damaged pictures that were left out of the data
    requirements: Requirements
    found_by: SearchReport
    device: ProfileSource
    server: ProfileSource
    link: ProfileSource
    profile_sha256: str
    planned_on: Machine
    profiled_on: Machine
    versions: dict[str, str]


def check_format(found: str, *, at: str) -> None:
    """Refuse another major version and a newer minor one; raises `ProfileError`."""
    mine = tuple(int(part) for part in FORMAT.split("."))
    try:
        major, minor = (int(part) for part in found.split("."))
    except ValueError:
        raise ProfileError(f"expected a plan format such as {FORMAT!r}, got {found!r}", at=f"{at}: $.format") from None
    if major != mine[0] or minor > mine[1]:
        age = "a newer" if (major, minor) > mine else "an older"
        raise ProfileError(
            f"written by {age} splitpoint: plan format {found}, this one reads {mine[0]}.0 to {FORMAT}",
            at=f"{at}: $.format",
            fix="use the splitpoint version named in created_by, or plan again",
        )
