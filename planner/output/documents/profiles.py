"""The document of ``splitpoint profiles``: the shipped device, server and link profiles."""

from __future__ import annotations

from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.profiles.library.catalog import list_profiles

__all__ = ["ProfileRow", "ProfilesDocument", "profiles_document"]


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


def profiles_document() -> ProfilesDocument:
    """Shipped profiles by kind."""
    return ProfilesDocument(
        profiles=tuple(
            ProfileRow(kind=shipped.kind, name=shipped.name, description=shipped.profile.description)
            for shipped in list_profiles()
        )
    )
