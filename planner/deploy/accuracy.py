"""What a candidate loses on one set of inputs, with its interval."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

__all__ = ["Accuracy", "Estimate", "Figure", "OutputError"]


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


class Estimate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a candidate loses, estimated from all that were measured (`planner.quality.drop_curve`)."""

    drop: float
    low: float  # 95 % interval of `drop`, which holds for the candidate that was chosen among all, too
    high: float
    own_weight: float  # 0: its neighbours decide; 1: its own inputs decide
    candidates: Annotated[int, msgspec.Meta(ge=1)]  # that were measured on the same inputs


class Accuracy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Quality of a candidate on one set, through real payload bytes and the real tail."""

    metric: str  # its name in tables; plan.yaml's `metric` block has its unit and definition
    value: float  # 1 is perfect
    drop: float  # metric of the unsplit network minus value; without labels 1 - value
    low: float  # 95 % interval of `value`
    high: float
    drop_low: float  # 95 % interval of `drop`
    drop_high: float
    estimate: Estimate | None = None  # of the drop; None: these inputs alone
    n: Annotated[int, msgspec.Meta(ge=1)]  # inputs
    groups: Annotated[int, msgspec.Meta(ge=1)]  # scenes (= n when every input is its own)
    relative_error: Annotated[float, msgspec.Meta(ge=0)]  # ||y - y0|| / ||y0|| of the outputs, mean
    payload_bytes: Annotated[float, msgspec.Meta(ge=0)]  # mean over the same inputs
    subset: Literal["search", "report"]
    also: tuple[Figure, ...] = ()
    output_errors: tuple[OutputError, ...] = ()  # where the network has several outputs

    @property
    def lost(self) -> float:
        """The drop as it is best known."""
        return self.drop if self.estimate is None else self.estimate.drop

    @property
    def lost_low(self) -> float:
        """The lower end of the 95 % interval of `lost`."""
        return self.drop_low if self.estimate is None else self.estimate.low

    @property
    def lost_high(self) -> float:
        """The upper end of the 95 % interval of `lost`."""
        return self.drop_high if self.estimate is None else self.estimate.high

    @property
    def best_value(self) -> float:
        """The value as it is best known: the unsplit network's less `lost`."""
        return self.value if self.estimate is None else self.value + self.drop - self.estimate.drop

    @property
    def best_low(self) -> float:
        """The lower end of the 95 % interval of `best_value`."""
        return self.low if self.estimate is None else self.value + self.drop - self.estimate.high

    def with_more_lost(self, extra: float) -> Accuracy:
        """The same with `extra` more lost."""
        estimate = self.estimate
        if estimate is not None:
            estimate = msgspec.structs.replace(estimate, drop=estimate.drop + extra)
        return msgspec.structs.replace(self, drop=self.drop + extra, estimate=estimate)

    def figure(self, name: str) -> Figure | None:
        """The other figure of that name, or None."""
        return next((figure for figure in self.also if figure.name == name), None)
