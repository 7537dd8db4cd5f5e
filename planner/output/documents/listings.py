"""The documents of ``splitpoint profiles`` and ``splitpoint codecs``: what is shipped."""

from __future__ import annotations

from splitpoint.codecs.contract.protocol import Boundary, Codec, Need
from splitpoint.codecs.registry import CODEC_IDS, PAPERS, REGISTRY
from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import Shipped, list_profiles

__all__ = ["CodecRow", "CodecsDocument", "ProfileRow", "ProfilesDocument", "codecs_document", "profiles_document"]


def __dir__() -> list[str]:
    return __all__


class ProfileRow(Value, frozen=True, kw_only=True):
    """One shipped profile."""

    kind: str  # "device", "server" or "link"
    name: str
    description: str


class ProfilesDocument(Document, frozen=True, kw_only=True, tag="profiles"):
    """The answer of ``splitpoint profiles``."""

    profiles: tuple[ProfileRow, ...]


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
    if not found:
        raise ProfileError(
            f"no shipped {kind or 'profile'} has the words {search!r}",
            fix="fewer words, or measure your own: splitpoint calibrate --out mine.yaml",
        )
    kinds = list(dict.fromkeys(shipped.kind for shipped in found))
    found.sort(key=lambda shipped: (kinds.index(shipped.kind), _family(shipped), shipped.name))
    return ProfilesDocument(
        profiles=tuple(
            ProfileRow(kind=shipped.kind, name=shipped.name, description=shipped.profile.description)
            for shipped in found
        )
    )


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
