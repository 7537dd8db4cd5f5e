"""The documents of ``splitpoint profiles`` and ``splitpoint codecs``: what is shipped, and one profile's figures."""

from __future__ import annotations

import typing

from splitpoint.codecs.contract.protocol import Boundary, Codec, Need
from splitpoint.codecs.registry import CODEC_IDS, PAPERS, REGISTRY
from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import ProfileKind, Shipped, find_profile, list_profiles
from splitpoint.profiles.library.figures import Figure, list_figures, list_unknown
from splitpoint.profiles.library.whole_networks import (
    BOARDS,
    READ_ON,
    WholeNetwork,
    list_whole_networks,
    whole_network_text,
)
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.units import format_quantity

__all__ = [
    "CodecRow",
    "CodecsDocument",
    "FigureRow",
    "ProfileFigures",
    "ProfileRow",
    "ProfilesDocument",
    "codecs_document",
    "figures_document",
    "profiles_document",
]


def __dir__() -> list[str]:
    return __all__


class ProfileRow(Value, frozen=True, kw_only=True):
    """One shipped profile."""

    kind: str  # "device", "server" or "link"
    name: str
    description: str


class FigureRow(Value, frozen=True, kw_only=True):
    """One figure of a profile, and where it comes from; None: the file does not say."""

    name: str  # path of its field, "compute.dense_macs_s"
    value: float | str | tuple[float, ...]  # in SI units
    unit: str | None  # of the value; None: a word, a count or a factor
    text: str  # the value for people
    source: str | None
    quote: str | None
    date: str | None


class ProfileFigures(Value, frozen=True, kw_only=True):
    """Everything that one profile says, and what is known of its error."""

    figures: tuple[FigureRow, ...]
    not_known: tuple[str, ...]  # fields that have no value: limits on them are refused
    prediction_error: float | None  # mean factor of networks that were not fitted; None: not known, or a link
    interval_factor: float | None  # that 90 % of such networks are within
    error: str | None  # the same in words; None: of a link


class ProfilesDocument(Document, frozen=True, kw_only=True, tag="profiles"):
    """The answer of ``splitpoint profiles``."""

    profiles: tuple[ProfileRow, ...]
    figures: ProfileFigures | None = None  # of the one profile that was asked for by name


def profiles_document(kind: str | None = None, search: str | None = None) -> ProfilesDocument:
    """Shipped profiles by kind, family and name: those of a kind whose words have every word of `search`.

    Raises `ProfileError` where there is none.
    """
    words = (search or "").lower().split()
    found = [
        shipped
        for shipped in list_profiles()
        if kind in (None, shipped.kind)
        and all(word in f"{shipped.name} {shipped.profile.description} {_family(shipped)}".lower() for word in words)
    ]
    rows = [
        ProfileRow(kind=board.kind, name=name, description=whole_network_text(name))
        for name, board in BOARDS.items()
        if kind in (None, board.kind) and all(word in f"{name} {whole_network_text(name)}".lower() for word in words)
    ]
    if not found and not rows:
        raise ProfileError(
            f"no shipped {kind or 'profile'} has the words {search!r}",
            fix="fewer words, or measure your own: splitpoint calibrate --out mine.yaml",
        )
    found.sort(key=lambda shipped: (_family(shipped), shipped.name))
    shown = [ProfileRow(kind=one.kind, name=one.name, description=one.profile.description) for one in found]
    order = list(typing.get_args(ProfileKind))
    # Sorting is stable: what cannot be planned with stands behind the profiles of its kind.
    return ProfilesDocument(profiles=tuple(sorted([*shown, *rows], key=lambda row: order.index(row.kind))))


def figures_document(name: str) -> ProfilesDocument:
    """The profile of that name or in that file with every figure. Raises `ProfileError` with near names."""
    if name in BOARDS:
        return _whole_networks_document(name)
    found = find_profile(name)
    profile = found.profile
    error, interval = getattr(profile, "prediction_error", None), getattr(profile, "interval_factor", None)
    return ProfilesDocument(
        profiles=(ProfileRow(kind=found.kind, name=profile.name, description=profile.description),),
        figures=ProfileFigures(
            figures=tuple(_figure_row(figure) for figure in list_figures(profile, found.sources)),
            not_known=list_unknown(profile),
            prediction_error=error,
            interval_factor=interval,
            error=_error_text(profile) if isinstance(profile, Device) else None,
        ),
    )


def _whole_networks_document(name: str) -> ProfilesDocument:
    """A board with figures of whole networks: each as its source has it."""
    return ProfilesDocument(
        profiles=(ProfileRow(kind=BOARDS[name].kind, name=name, description=whole_network_text(name)),),
        figures=ProfileFigures(
            figures=tuple(_whole_network_row(figure, name) for figure in list_whole_networks()[name]),
            not_known=("compute",),
            prediction_error=None,
            interval_factor=None,
            error="nothing is predicted from whole networks; for a plan measure the board: splitpoint calibrate",
        ),
    )


def _whole_network_row(figure: WholeNetwork, board: str) -> FigureRow:
    value, kind, unit = (figure.seconds, "s", "s") if figure.seconds is not None else (figure.per_second, "per_s", "/s")
    assert value is not None  # a row has one of them
    return FigureRow(
        name=f"{figure.network} {figure.input_size} {figure.runtime} {figure.precision} {figure.unit}",
        value=value,
        unit=unit,
        text=format_quantity(value, kind),
        source=BOARDS[board].source,
        quote=None,
        date=READ_ON,
    )


def _figure_row(figure: Figure) -> FigureRow:
    source = figure.source
    return FigureRow(
        name=figure.path,
        value=figure.value,
        unit=figure.unit,
        text=_figure_text(figure),
        source=None if source is None else source.source,
        quote=None if source is None else source.quote,
        date=None if source is None else source.date,
    )


def _figure_text(figure: Figure) -> str:
    if isinstance(figure.value, tuple):
        ends = [format_quantity(value, figure.kind) for value in (min(figure.value), max(figure.value))]
        return f"{len(figure.value)} values, {ends[0]} to {ends[1]}"
    return figure.value if isinstance(figure.value, str) else format_quantity(figure.value, figure.kind)


def _error_text(device: Device) -> str:
    """How far a device's seconds are off for networks that it was not fitted to."""
    if device.measured:
        return "measured on the machine itself by splitpoint calibrate"
    if device.prediction_error is None:
        return "not known: no network was left out of the fit"
    within = "" if device.interval_factor is None else f"; 90 % of them within x{device.interval_factor:.2f}"
    return f"x{device.prediction_error:.2f} on average for networks that were left out of the fit{within}"


def _family(shipped: Shipped) -> str:
    return getattr(shipped.profile, "family", None) or ""


class CodecRow(Value, frozen=True, kw_only=True):
    """One codec."""

    name: str
    id: int  # in the bitstream
    rates: tuple[str, ...]  # coarsest first
    boundary: Boundary  # float32: both sides need splitpoint for more than entropy coding
    needs: tuple[Need, ...]  # it is not fitted without: labels, gradients, layer (input and weights), training
    wants: tuple[Need, ...]  # it is fitted without where the data or the network do not have them
    paper: str | None  # that it follows; None: ours, or without a source of its own


class CodecsDocument(Document, frozen=True, kw_only=True, tag="codecs"):
    """The answer of ``splitpoint codecs``."""

    codecs: tuple[CodecRow, ...]


def codecs_document() -> CodecsDocument:
    """Every codec of the registry, in its order."""
    return CodecsDocument(codecs=tuple(_codec_row(codec) for codec in REGISTRY.values()))


def _codec_row(codec: Codec) -> CodecRow:
    return CodecRow(
        name=codec.name,
        id=CODEC_IDS[codec.name],
        rates=tuple(rate.label for rate in codec.rates),
        boundary=codec.boundary,
        needs=tuple(sorted(codec.needs)),
        wants=tuple(sorted(codec.wants)),
        paper=PAPERS.get(codec.name),
    )
