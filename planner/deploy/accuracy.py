"""What a candidate loses on one set of inputs, with its interval."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = ["Accuracy", "Metric"]


def __dir__() -> list[str]:
    return __all__


Metric = Literal["top1", "agreement", "fidelity"]


class Accuracy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Quality of a candidate on one set, through real payload bytes and the real tail."""

    metric: Metric
    value: float  # top-1 or agreement as a fraction; fidelity = 1 - relative error
    drop: float  # metric of the unsplit model minus value (agreement and fidelity: 1 - value)
    low: float  # 95 % interval of `value`
    high: float
    drop_high: float  # upper 95 % bound of `drop`
    n: Annotated[int, msgspec.Meta(ge=1)]  # inputs
    groups: Annotated[int, msgspec.Meta(ge=1)]  # scenes (= n when every input is its own)
    relative_error: Annotated[float, msgspec.Meta(ge=0)]  # ||y - y0|| / ||y0|| of the outputs, mean
    payload_bytes: Annotated[float, msgspec.Meta(ge=0)]  # mean over the same inputs
    subset: Literal["search", "report"]
