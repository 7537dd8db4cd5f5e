"""The configuration of one plan: a YAML file, flags over it, and what was used written back beside the result."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from splitpoint.planner.planfile import Requirements
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files import read_yaml
from splitpoint.profiles.inputs import InputSpec
from splitpoint.profiles.units import ByteCount, Fraction, NonNegativeSeconds

__all__ = ["DataConfig", "Need", "PlanConfig", "SearchConfig", "read_config", "requirements"]


def __dir__() -> list[str]:
    return __all__


DEFAULT_AGREEMENT = 0.90  # floor without labels
DEFAULT_DROP = 0.01  # floor with labels: one point

Objective = Literal["latency", "payload", "drop", "energy"]


class DataConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the inputs come from, and which groups go to which set (default: split at random by group)."""

    source: str  # a folder, an .npz, or "file.py:function"
    calibration: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    report: tuple[str, ...] = ()


class Need(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plan must meet; what is left out is no limit, but there is always a quality floor."""

    deadline: NonNegativeSeconds | None = None
    max_drop: Fraction | None = None
    min_agreement: Fraction | None = None
    max_payload: ByteCount | None = None
    max_device_memory: ByteCount | None = None
    confident: bool = False  # bind the 95 % bound of the quality instead of its estimate


class SearchConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How hard to look."""

    evaluations: Annotated[int, msgspec.Meta(ge=0)] = 120  # accuracy measurements of split candidates
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    max_cuts: Annotated[int, msgspec.Meta(ge=1)] = 10  # cuts on the table's front that are searched
    codecs: tuple[str, ...] = ()  # all that apply


class PlanConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything `splitpoint plan` needs; paths are relative to the file that holds them."""

    model: str  # an .onnx file, or "file.py:factory" / "package.module:factory" of a torch module
    input: InputSpec | None = None
    data: DataConfig
    device: str = "host"
    server: str = "host"
    link: str = "wifi-5"
    need: Need = Need()
    objectives: tuple[Objective, ...] = ("latency", "payload", "drop")
    search: SearchConfig = SearchConfig()
    threads: Annotated[int, msgspec.Meta(ge=1)] | None = None  # of ONNX Runtime on this host; default all cores


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Paths:
    base: Path

    def resolve(self, text: str) -> str:
        """`text` with its file part made absolute when that file stands beside the configuration."""
        name, colon, member = text.partition(":")
        path = self.base / name
        return f"{path.resolve()}{colon}{member}" if path.exists() else text


def read_config(path: Path) -> PlanConfig:
    """The configuration in `path`, its relative paths made absolute; raises `ProfileError` with the field's place."""
    config = read_yaml(path, PlanConfig)
    paths = _Paths(base=path.resolve().parent)
    return msgspec.structs.replace(
        config,
        model=paths.resolve(config.model),
        data=msgspec.structs.replace(config.data, source=paths.resolve(config.data.source)),
        device=paths.resolve(config.device),
        server=paths.resolve(config.server),
        link=paths.resolve(config.link),
    )


def requirements(need: Need, *, labelled: bool) -> Requirements:
    """The limits to bind, with the default quality floor: 1 point of top-1 with labels, 0.90 agreement without.

    Raises `ProfileError` when a drop is asked of unlabelled data, where only agreement can be measured.
    """
    if need.max_drop is not None and not labelled:
        raise ProfileError(
            "max_drop needs labels, and the data has none",
            at="$.need.max_drop",
            fix="use min_agreement (agreement with the unsplit network), or give a labelled folder",
        )
    floor = need.max_drop is not None or need.min_agreement is not None
    return Requirements(
        deadline_s=need.deadline,
        max_drop=need.max_drop if floor else DEFAULT_DROP if labelled else None,
        min_agreement=need.min_agreement if floor else None if labelled else DEFAULT_AGREEMENT,
        max_payload_bytes=need.max_payload,
        max_head_bytes=need.max_device_memory,
        confident=need.confident,
    )
