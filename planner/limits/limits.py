"""One row a limit: its field and flag, its unit, how it is read off a point, and how it is printed.

A new limit is a new row. Configuration (`planner.limits.need`), command line, feasibility, near misses, tables and help
follow from it.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal

from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.units import (
    ByteCount,
    Fraction,
    Joules,
    NonNegativeSeconds,
    PerSecond,
    UsdPerRequest,
    format_bytes,
    format_joules,
    format_seconds,
    format_usd,
)

__all__ = ["COSINE", "ENERGY_FIGURES", "FIGURES", "LIMITS", "MAP", "PRICE_FIGURES", "Figure", "Limit"]


def __dir__() -> list[str]:
    return __all__


Figure = tuple[Literal["device", "server", "link"], tuple[str, ...]]  # a profile, and sections one of which it needs

ENERGY_FIGURES: tuple[Figure, ...] = (("device", ("power",)), ("link", ("radio",)))
PRICE_FIGURES: tuple[Figure, ...] = (("server", ("price",)), ("link", ("usd_byte", "usd_message")))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A quantity of a point that may have a bound."""

    name: str  # in plan.yaml and in messages
    field: str | None  # of the `need:` block; its flag is --field. None: only a device sets this limit
    unit: Any  # the field's type: a number of `profiles.units` with its kind and range
    best: Literal["least", "most"]  # "least": the bound is the most that is allowed
    read: Callable[[Evaluated, bool], float | None]  # of a point; the bool: by its 95 % bound. None: not known
    show: Callable[[float], str]
    short: str  # how narrow tables mark a point that misses it
    help: str  # what it is, with an example
    default: str = "none"  # what holds where it is not asked for
    label: str = ""  # what messages call it; "{metric}" is the quality's metric. Empty: the name
    show_gap: Callable[[float], str] | None = None  # of a difference; None: as `show`
    absolute: bool = False  # misses are ranked by their difference, not by their share of the bound
    on_arrival: bool = False  # it counts only for a message that arrives
    of_device: Callable[[Device], float | None] | None = None  # what a device allows, whether or not it was asked
    figures: tuple[Figure, ...] = ()  # sections of profiles without which it is not known
    of_quality: bool = False  # what the report set must not contradict
    at_best: Callable[[Evaluated], float | None] | None = None  # of quality: the end of its 95 % interval that is best

    @property
    def kind(self) -> str:
        """The kind of quantity, as `profiles.units.parse` takes it."""
        return str(typing.get_args(self.unit)[1].extra["kind"])

    @property
    def whole(self) -> bool:
        """Whether its values are integers."""
        return typing.get_args(self.unit)[0] is int

    @property
    def described(self) -> str:
        """What the field of a configuration means."""
        return self.help if self.default == "none" else f"{self.help} Left out: {self.default}."

    def title(self, metric: str) -> str:
        """What messages call it."""
        return (self.label or self.name).format(metric=metric)

    def exceeds(self, got: float, bound: float) -> float:
        """How far `got` is beyond `bound`; nothing or less when it is met."""
        return got - bound if self.best == "least" else bound - got


FIGURES = MAP, COSINE = "mAP@0.5", "cosine"  # other figures of a metric that may have a bound


def _figure(point: Evaluated, name: str, confident: bool) -> float | None:
    """Another figure of the point's quality; None where the task's metric has no such figure."""
    figure = point.accuracy.figure(name)
    if figure is None:
        return None
    return figure.low if confident and figure.low is not None else figure.value


def _figure_at_best(point: Evaluated, name: str) -> float | None:
    """The upper end of another figure's 95 % interval, or its value where it has none."""
    figure = point.accuracy.figure(name)
    if figure is None:
        return None
    return figure.value if figure.high is None else figure.high


LIMITS: Mapping[str, Limit] = {
    limit.name: limit
    for limit in (
        Limit(
            name="latency",
            field="deadline",
            unit=NonNegativeSeconds,
            best="least",
            read=lambda point, _: point.cost.deadline_latency_s,
            show=format_seconds,
            short="late",
            help="Longest latency, such as 100ms.",
            on_arrival=True,
        ),
        Limit(
            name="frame rate",
            field="min_frame_rate",
            unit=PerSecond,
            best="most",
            read=lambda point, _: point.cost.frame_rate,
            show=lambda value: f"{value:.3g}/s",
            short="slow",
            help="Least frames a second, such as 10fps.",
            on_arrival=True,
        ),
        Limit(
            name="encode time",
            field="max_encode_time",
            unit=NonNegativeSeconds,
            best="least",
            read=lambda point, _: point.cost.encode_s,
            show=format_seconds,
            short="coder",
            help="Longest coding on the device, such as 5ms.",
        ),
        Limit(
            name="drop",
            field="max_drop",
            unit=Fraction,
            best="least",
            read=lambda point, confident: point.accuracy.lost_high if confident else point.accuracy.lost,
            at_best=lambda point: point.accuracy.drop_low,
            show=lambda value: f"{100 * value:.3g} %",
            show_gap=lambda value: f"{100 * value:.1f} points",
            short="lossy",
            help="Largest drop of the metric on labelled data, such as 1%.",
            default="1%",
            absolute=True,
            of_quality=True,
        ),
        Limit(
            name="quality",
            label="{metric}",
            field="min_agreement",
            unit=Fraction,
            best="most",
            read=lambda point, confident: point.accuracy.best_low if confident else point.accuracy.best_value,
            at_best=lambda point: point.accuracy.high,
            show=lambda value: f"{value:.3g}",
            short="lossy",
            help="Least metric against the unsplit network's answers, 0 to 1.",
            default="0.9 without labels",
            absolute=True,
            of_quality=True,
        ),
        Limit(
            name=MAP,
            field="min_map",
            unit=Fraction,
            best="most",
            read=lambda point, confident: _figure(point, MAP, confident),
            at_best=lambda point: _figure_at_best(point, MAP),
            show=lambda value: f"{value:.3g}",
            short="lossy",
            help="Detection: least mAP at IoU 0.5, 0 to 1.",
            default="0.9 without labels",
            absolute=True,
            of_quality=True,
        ),
        Limit(
            name=COSINE,
            field="min_cosine",
            unit=Fraction,
            best="most",
            read=lambda point, confident: _figure(point, COSINE, confident),
            at_best=lambda point: _figure_at_best(point, COSINE),
            show=lambda value: f"{value:.3g}",
            short="lossy",
            help="Embeddings: least cosine similarity with the unsplit network's.",
            default="0.9",
            absolute=True,
            of_quality=True,
        ),
        Limit(
            name="payload",
            field="max_payload",
            unit=ByteCount,
            best="least",
            read=lambda point, _: point.cost.payload_bytes,
            show=format_bytes,
            short="large",
            help="Largest payload, such as 4kB.",
        ),
        Limit(
            name="device memory",
            field="max_device_memory",
            unit=ByteCount,
            best="least",
            read=lambda point, _: point.cost.head_peak_bytes,
            show=format_bytes,
            short="memory",
            help="Weights and live activations of the head, such as 64MB.",
            default="what the device has",
            of_device=lambda device: device.head_limit_bytes,
        ),
        Limit(
            name="device flash",
            field=None,
            unit=ByteCount,
            best="least",
            read=lambda point, _: point.cost.head_file_bytes,
            show=format_bytes,
            short="flash",
            help="",
            of_device=lambda device: device.memory.flash_bytes,
        ),
        Limit(
            name="energy",
            field="max_energy",
            unit=Joules,
            best="least",
            read=lambda point, _: point.cost.energy_j,
            show=format_joules,
            short="energy",
            help="Largest energy of the device, such as 50mJ.",
            on_arrival=True,
            figures=ENERGY_FIGURES,
        ),
        Limit(
            name="cost",
            field="max_cost",
            unit=UsdPerRequest,
            best="least",
            read=lambda point, _: point.cost.usd,
            show=format_usd,
            short="cost",
            help='Largest price of a request, such as "0.00001 USD".',
            on_arrival=True,
            figures=PRICE_FIGURES,
        ),
    )
}
