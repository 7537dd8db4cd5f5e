"""The only converter between text and SI numbers: "20 Mbit/s" to 2e7 and 0.0032 s to "3.2 ms".

k = 1000 and Ki = 1024. A quantity in a file is text with a unit, or a bare number where the field's name says its SI
unit ("rtt_s") or where it has none ("max_drop").
"""

from __future__ import annotations

import dataclasses
import difflib
import fractions
import math
import re
from collections.abc import Callable, Mapping
from typing import Annotated

from msgspec import Meta

from splitpoint.profiles.errors import shorten

__all__ = [
    "KINDS",
    "BitRate",
    "ByteCount",
    "ByteRate",
    "Decibel",
    "Fraction",
    "Hertz",
    "Joules",
    "JoulesPerBit",
    "Kind",
    "MacCount",
    "MacRate",
    "NonNegativeSeconds",
    "PerSecond",
    "PositiveSeconds",
    "UnitError",
    "UsdPerByte",
    "UsdPerRequest",
    "UsdPerSecond",
    "Watts",
    "format_bytes",
    "format_flops",
    "format_fraction",
    "format_interval",
    "format_joules",
    "format_macs",
    "format_macs_s",
    "format_quantity",
    "format_rate",
    "format_seconds",
    "format_span",
    "format_usd",
    "format_uses",
    "named_by",
    "parse",
    "parse_exact",
    "spell",
    "text_schema",
]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of quantity: what it is called, an example of it, and its units in SI."""

    noun: str  # "a rate"
    example: str  # "20 Mbit/s"
    units: Mapping[str, float]  # spelling -> SI value of one

    @property
    def si(self) -> str:
        """The unit of SI numbers; empty where they have none."""
        return next(unit for unit, factor in self.units.items() if factor == 1.0)


class UnitError(ValueError):
    """Text is not a quantity of the wanted kind; `suggestion` is what was probably meant."""

    def __init__(self, message: str, *, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.suggestion = suggestion


_SMALL = {"n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "": 1.0}
_LARGE = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}


def _scaled(unit: str, prefixes: Mapping[str, float], scale: float = 1.0) -> dict[str, float]:
    return {prefix + unit: factor * scale for prefix, factor in prefixes.items()}


_TIME = {**_scaled("s", _SMALL), "min": 60.0, "h": 3600.0}
_BYTE = {**_scaled("B", _LARGE), **_scaled("B", _BINARY), "bytes": 1.0, "byte": 1.0}
_MAC = _scaled("MAC", _LARGE)

KINDS: Mapping[str, Kind] = {
    "s": Kind(noun="a time", example="15 ms", units=_TIME),
    "bit_s": Kind(
        noun="a rate",
        example="20 Mbit/s",
        units={
            **_scaled("bit/s", _LARGE),
            **_scaled("bps", _LARGE),
            **_scaled("B/s", _LARGE, 8.0),
            **_scaled("B/s", _BINARY, 8.0),
        },
    ),
    "bytes_s": Kind(
        noun="a memory rate", example="4 GB/s", units={**_scaled("B/s", _LARGE), **_scaled("B/s", _BINARY)}
    ),
    "bytes": Kind(noun="a size", example="16 kB", units=_BYTE),
    "bit": Kind(
        noun="a number of bits",
        example="8 kbit",
        units={**_scaled("bit", _LARGE), **_scaled("B", _LARGE, 8.0), **_scaled("B", _BINARY, 8.0)},
    ),
    "hz": Kind(noun="a frequency", example="20 MHz", units=_scaled("Hz", _LARGE)),
    "db": Kind(noun="a ratio in decibel", example="12 dB", units={"dB": 1.0}),
    "w": Kind(noun="a power", example="1.3 W", units={**_scaled("W", _SMALL), "kW": 1e3}),
    "j": Kind(noun="an energy", example="20 mJ", units={**_scaled("J", _SMALL), "kJ": 1e3, "Wh": 3600.0}),
    "j_bit": Kind(
        noun="an energy per bit",
        example="0.3 uJ/bit",
        units={**_scaled("J/bit", _SMALL), "W/(Mbit/s)": 1e-6, "mW/(Mbit/s)": 1e-9},
    ),
    "macs": Kind(noun="a number of multiply-adds", example="300 MMAC", units=_MAC),
    "macs_s": Kind(
        noun="a compute rate",
        example="15 GMAC/s",
        # 1 MAC = 2 FLOP
        units={**_scaled("MAC/s", _LARGE), **_scaled("FLOP/s", _LARGE, 0.5), **_scaled("FLOPS", _LARGE, 0.5)},
    ),
    "per_s": Kind(
        noun="a number a second", example="10 /s", units={"/s": 1.0, "fps": 1.0, "/min": 1 / 60, "/h": 1 / 3600}
    ),
    "fraction": Kind(noun="a fraction", example="1 %", units={"%": 0.01, "": 1.0}),
    "usd_byte": Kind(
        noun="a price per byte",
        example="2 USD/GB",
        units={"USD/B": 1.0, "USD/kB": 1e-3, "USD/MB": 1e-6, "USD/GB": 1e-9},
    ),
    "usd_s": Kind(noun="a price per second", example="0.34 USD/h", units={"USD/s": 1.0, "USD/h": 1 / 3600}),
    "usd": Kind(noun="a price", example="0.0002 USD", units={"USD": 1.0}),
}

# What is below or above these bounds is a slip or an attack: quotients and products of accepted numbers stay finite.
PositiveSeconds = Annotated[float, Meta(gt=1e-15, le=1e9, extra={"kind": "s"})]
NonNegativeSeconds = Annotated[float, Meta(ge=0, le=1e9, extra={"kind": "s"})]  # 32 years
BitRate = Annotated[float, Meta(gt=1e-3, le=1e18, extra={"kind": "bit_s"})]
ByteRate = Annotated[float, Meta(gt=1e-3, le=1e21, extra={"kind": "bytes_s"})]
ByteCount = Annotated[int, Meta(ge=0, le=2**62, extra={"kind": "bytes"})]
Hertz = Annotated[float, Meta(gt=1e-3, le=1e18, extra={"kind": "hz"})]
Decibel = Annotated[float, Meta(ge=-200, le=200, extra={"kind": "db"})]
Watts = Annotated[float, Meta(ge=0, le=1e12, extra={"kind": "w"})]
Joules = Annotated[float, Meta(ge=0, le=1e15, extra={"kind": "j"})]
JoulesPerBit = Annotated[float, Meta(ge=0, le=1e6, extra={"kind": "j_bit"})]
MacCount = Annotated[float, Meta(gt=0, le=1e24, extra={"kind": "macs"})]
MacRate = Annotated[float, Meta(gt=1e-3, le=1e24, extra={"kind": "macs_s"})]
Fraction = Annotated[float, Meta(ge=0, le=1, extra={"kind": "fraction"})]
PerSecond = Annotated[float, Meta(ge=0, le=1e12, extra={"kind": "per_s"})]
UsdPerByte = Annotated[float, Meta(ge=0, le=1e9, extra={"kind": "usd_byte"})]
UsdPerSecond = Annotated[float, Meta(ge=0, le=1e9, extra={"kind": "usd_s"})]
UsdPerRequest = Annotated[float, Meta(ge=0, le=1e9, extra={"kind": "usd"})]

LONGEST = 100  # characters of a quantity
# Three digits of exponent: more are beyond every float, and an exact power of ten of nine digits would take all memory.
_UNSIGNED = r"(?:\d+(?:_\d+)*\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?"
_NUMBER = re.compile(rf"\s*([-+]?{_UNSIGNED})\s*(.*?)\s*")


def parse(
    value: object,
    kind: str,
    *,
    gt: float | None = None,
    ge: float | None = None,
    le: float | None = None,
    lt: float | None = None,
) -> float:
    """The SI number of a bare number or of text with a unit: ``parse("20 Mbit/s", "bit_s") == 2e7``.

    Raises UnitError for another type, an unknown unit, a number that is not finite or one outside the bounds.
    """
    wanted = KINDS[kind]
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnitError(f'expected {wanted.noun} such as "{wanted.example}", got {_shown(value)}')
    try:
        number = _from_text(value, wanted) if isinstance(value, str) else float(value)
    except OverflowError:  # an integer beyond 1.8e308
        number = math.inf
    shown = _shown(value)
    if not math.isfinite(number):
        raise UnitError(f'expected {wanted.noun} such as "{wanted.example}", got {shown}, which is not finite')
    for bound, holds, word in (
        (gt, gt is None or number > gt, "more than"),
        (ge, ge is None or number >= ge, "at least"),
        (lt, lt is None or number < lt, "less than"),
        (le, le is None or number <= le, "at most"),
    ):
        if not holds:
            meant = f"{value} %" if kind == "fraction" and 1 < number <= 100 else None
            raise UnitError(
                f'expected {wanted.noun} {word} {_bound_text(bound, wanted)} such as "{wanted.example}", got {shown}',
                suggestion=meant,
            )
    return number


def _bound_text(bound: float | None, wanted: Kind) -> str:
    """A bound with the kind's SI unit; 0 needs none."""
    return f"{bound:g} {wanted.si}".strip() if bound else "0"


def parse_exact(text: str, kind: str) -> fractions.Fraction:
    """The number that `parse` takes `text` for, without rounding: counts of bytes are exact beyond 2^53."""
    match = _NUMBER.fullmatch(text)
    assert match is not None  # `parse` has read it
    number, unit = match.groups()
    return fractions.Fraction(number) * fractions.Fraction(KINDS[kind].units[unit])


def named_by(field: str, kind: str) -> bool:
    """Whether a bare number is clear in a field of this name: "rtt_s" says its unit, and a fraction has none."""
    return "" in KINDS[kind].units or re.search(f"(^|_)({_NAMES.get(kind, kind)})($|_)", field) is not None


# What names of fields call a unit, where it is not the kind's own name.
_NAMES: Mapping[str, str] = {"s": "s|seconds", "j_bit": "j_per_bit", "bit": "bits?"}


def text_schema(kind: str, *, negative: bool) -> dict[str, object]:
    """The JSON Schema of the text that `parse` takes; `negative`: whether a sign may stand before it.

    No schema computes the SI number, so that `parse` alone checks its bounds.
    """
    wanted, sign = KINDS[kind], "[-+]?" if negative else r"\+?"
    units = "|".join(re.escape(unit) for unit in wanted.units)
    return {
        "type": "string",
        "pattern": rf"^\s*{sign}{_UNSIGNED}\s*(?:{units})\s*$",
        "maxLength": LONGEST,
        "examples": [wanted.example],
    }


def spell(number: float, kind: str) -> str:
    """`number` with the kind's SI unit, which `parse` reads back exactly: ``spell(0.055, "s") == "0.055 s"``."""
    return f"{number!r} {KINDS[kind].si}".strip()


def _from_text(text: str, wanted: Kind) -> float:
    complaint = f'expected {wanted.noun} such as "{wanted.example}", got {_shown(text)}'
    match = _NUMBER.fullmatch(text) if len(text) <= LONGEST else None
    if match is None:
        raise UnitError(complaint)
    number, unit = match.groups()
    if unit not in wanted.units:
        meant = _nearest(unit, wanted) if unit else _usual(float(number), wanted)
        raise UnitError(complaint, suggestion=None if meant is None else f"{number} {meant}".strip())
    return float(number) * wanted.units[unit]


def _usual(number: float, wanted: Kind) -> str | None:
    """The unit of a bare number: that of the example, or the SI unit where the example's would make it huge."""
    unit = wanted.example.split()[-1]
    return wanted.si if abs(number) >= 1000 and wanted.units[unit] > 1 else unit


def _nearest(unit: str, wanted: Kind) -> str | None:
    """The unit that was probably meant; "mbit" means "Mbit/s" where a rate is wanted."""
    if not unit or any(unit in kind.units for kind in KINDS.values()):
        return None  # another kind of quantity, not a slip
    names = [name for name in wanted.units if name]
    # Prefixes below one do not fit bits and bytes, so case is the usual slip: compare lower case first.
    for name in names:
        if name.lower() == unit.lower() or name.lower().removesuffix("/s") == unit.lower():
            return name
    lowered = {name.lower(): name for name in names}
    close = difflib.get_close_matches(unit.lower(), lowered, n=1, cutoff=0.5)
    return lowered[close[0]] if close else None


def _shown(value: object) -> str:
    return shorten(f'"{value}"' if isinstance(value, str) else f"{value!r}")


def format_seconds(seconds: float) -> str:
    """Seconds for people: ``0.0032`` is "3.2 ms"."""
    if seconds >= 120:
        return f"{_significant(seconds / 3600)} h" if seconds >= 7200 else f"{_significant(seconds / 60)} min"
    return _format(seconds, "s", {"": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9})


def format_interval(seconds: float, low_s: float | None, high_s: float | None) -> str:
    """Seconds with what they may be, where that is known: "47 ms, 39 to 57 ms"."""
    if low_s is None or high_s is None:
        return format_seconds(seconds)
    return f"{format_seconds(seconds)}, {format_span(low_s, high_s)}"


def format_span(low_s: float, high_s: float) -> str:
    """Seconds from and to, with one unit where both have the same: "39 to 57 ms"."""
    low, high = format_seconds(low_s), format_seconds(high_s)
    number, _, unit = low.rpartition(" ")
    return f"{number if high.endswith(f' {unit}') else low} to {high}"


def format_bytes(n_bytes: float) -> str:
    """Bytes for people, k = 1000: ``1040`` is "1.04 kB"."""
    if n_bytes < 1000:
        return f"{n_bytes:.0f} B" if n_bytes == int(n_bytes) else f"{_significant(n_bytes)} B"
    return _format(n_bytes, "B", _LARGE)


def format_uses(uses: float) -> str:
    """Channel uses for people: ``1240`` is "1,240 uses"."""
    return f"{uses:,.0f} {'use' if round(uses) == 1 else 'uses'}"


def format_rate(bit_s: float) -> str:
    """A bit rate for people: ``6e7`` is "60 Mbit/s"."""
    return _format(bit_s, "bit/s", _LARGE)


def format_macs(macs: float) -> str:
    """Multiply-adds for people: ``3e8`` is "300 MMAC"."""
    return _format(macs, "MAC", _LARGE)


def format_flops(macs: float) -> str:
    """FLOPs = 2 x MACs for people: ``3e8`` MACs are "600 MFLOPs"."""
    return _format(2 * macs, "FLOPs", _LARGE)


def format_macs_s(macs_s: float) -> str:
    """Multiply-adds a second for people: ``1.5e10`` is "15 GMAC/s"."""
    return _format(macs_s, "MAC/s", _LARGE)


def format_fraction(fraction: float) -> str:
    """A fraction as a percentage: ``0.0123`` is "1.2 %"."""
    percent = 100 * fraction
    return (
        f"{percent:.0f} %"
        if percent == int(percent)
        else f"{percent:.2g} %"
        if abs(percent) < 10
        else f"{percent:.0f} %"
    )


def format_joules(joules: float) -> str:
    """Joules for people: ``0.02`` is "20 mJ"."""
    return _format(joules, "J", {"k": 1e3, **_SMALL_SHOWN})


def format_usd(usd: float) -> str:
    """Money for people: ``0.00002`` is "0.00002 USD"."""
    return f"{usd:.3g} USD" if usd >= 1e-4 or usd == 0 else f"{usd * 1e6:.3g} USD per million"


def format_quantity(value: float, kind: str | None) -> str:
    """A number of a kind for people, with the SI unit where nobody scales it; None: a number without a unit."""
    if kind in _FORMATS:
        return _FORMATS[kind](value)
    return f"{value:.6g} {'' if kind is None else KINDS[kind].si}".rstrip()


_SMALL_SHOWN = {"": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9}


def _format(value: float, unit: str, prefixes: Mapping[str, float]) -> str:
    if value == 0:
        return f"0 {unit}"
    if not math.isfinite(value):
        return f"{value} {unit}"
    ranked = sorted(prefixes.items(), key=lambda item: item[1], reverse=True)
    # 999.95 rounds to 1000 at three digits, so compare after rounding.
    rounded = float(f"{abs(value):.3g}")
    prefix, factor = next(((p, f) for p, f in ranked if rounded >= f), ranked[-1])
    return f"{_significant(value / factor)} {prefix}{unit}"


def _significant(value: float) -> str:
    """Three significant digits without an exponent and without trailing zeros."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"


_FORMATS: Mapping[str | None, Callable[[float], str]] = {
    "s": format_seconds,
    "bit_s": format_rate,
    "bytes_s": lambda bytes_s: f"{format_bytes(bytes_s)}/s",
    "bytes": format_bytes,
    "macs": format_macs,
    "macs_s": format_macs_s,
    "hz": lambda hertz: _format(hertz, "Hz", _LARGE),
    "w": lambda watts: _format(watts, "W", {"k": 1e3, **_SMALL_SHOWN}),
    "j": format_joules,
    "j_bit": lambda joules: _format(joules, "J/bit", _SMALL_SHOWN),
    "fraction": format_fraction,
}
