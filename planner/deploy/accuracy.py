"""What a candidate loses on one set of inputs, with its interval."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = ["Accuracy", "Figure", "OutputError"]


def __dir__() -> list[str]:
    return __all__


class Figure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another figure of the same answers, beside the metric."""

    name: str
    value: float
    drop: float  # the unsplit network's minus `value`
    low: float | None = None  # 95 % interval of `value`; None: not computed
    high: float | None = None


class OutputError(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far one of several outputs is from the unsplit network's."""

    name: str
    relative_error: float  # ||y - y0|| / ||y0||, mean over the inputs


class Accuracy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Quality of a candidate on one set, through real payload bytes and the real tail."""

    metric: str  # its name in tables; plan.yaml's `metric` block has its unit and definition
    value: float  # 1 is perfect
    drop: float  # metric of the unsplit network minus value; without labels 1 - value
    low: float  # 95 % interval of `value`
    high: float
    drop_high: float  # upper 95 % bound of `drop`
    floor_value: float | None = None  # what a floor is compared with in place of `value`, where few inputs decide it
    floor_drop: float | None = None  # the same in place of `drop`
    n: Annotated[int, msgspec.Meta(ge=1)]  # inputs
    groups: Annotated[int, msgspec.Meta(ge=1)]  # scenes (= n when every input is its own)
    relative_error: Annotated[float, msgspec.Meta(ge=0)]  # ||y - y0|| / ||y0|| of the outputs, mean
    payload_bytes: Annotated[float, msgspec.Meta(ge=0)]  # mean over the same inputs
    subset: Literal["search", "report"]
    also: tuple[Figure, ...] = ()
    output_errors: tuple[OutputError, ...] = ()  # where the network has several outputs

    def figure(self, name: str) -> Figure | None:
        """The other figure of that name, or None."""
        return next((figure for figure in self.also if figure.name == name), None)
