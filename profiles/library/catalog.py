"""Shipped profiles by name, and the user's own by path."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.resources
import os
import typing
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import Source, decode_sources, decode_yaml, read_yaml
from splitpoint.profiles.link.adjust import at_rate, at_snr
from splitpoint.profiles.link.link import Link, TraceLink
from splitpoint.profiles.link.trace import filled
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.units import BitRate, Decibel, UnitError, parse

__all__ = ["ProfileKind", "Shipped", "list_profiles", "load_device", "load_link", "load_server", "sources"]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")

ProfileKind = Literal["device", "server", "link"]

_FOLDERS: Mapping[ProfileKind, str] = {"device": "devices", "server": "servers", "link": "links"}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    """A profile that comes with the package."""

    kind: ProfileKind
    name: str
    profile: Device | Link


def load_device(name: str | os.PathLike[str]) -> Device:
    """The device of that name or in that file; raises ProfileError, with the nearest name for an unknown one."""
    return _load(name, "device", Device)


def load_server(name: str | os.PathLike[str]) -> Device:
    """The server of that name or in that file; a server is a Device too."""
    return _load(name, "server", Device)


def load_link(name: str | os.PathLike[str]) -> Link:
    """The link of that name or in that file; a trace's recording is read, relative to the file.

    "NAME@RATE" or "NAME@SNR" ("lte-cat1@2 Mbit/s", "awgn-5db@12 dB") is that link at another mean rate or SNR.
    """
    text, at, value = os.fspath(name).rpartition("@")
    if at and not Path(name).exists():
        return _changed(load_link(text), value, str(name))
    link: Link = _load(name, "link", _LINK)
    return filled(link, Path(name).parent, str(name)) if isinstance(link, TraceLink) else link


def list_profiles() -> tuple[Shipped, ...]:
    """Every shipped profile, devices, servers, links, each sorted by name."""
    profiles: list[Shipped] = []
    for kind in _FOLDERS:
        for name in _names(kind):
            shape: Any = _LINK if kind == "link" else Device
            profile: Device | Link = decode_yaml(_text(kind, name), shape, where=f"{name}.yaml")
            if isinstance(profile, TraceLink):
                profile = filled(profile, Path(), f"{name}.yaml")
            profiles.append(Shipped(kind=kind, name=name, profile=profile))
    return tuple(profiles)


def sources(kind: ProfileKind, name: str) -> dict[str, Source]:
    """The provenance of a shipped profile's numbers by their path ("$.compute.dense_macs_s")."""
    return decode_sources(_text(kind, name), _LINK if kind == "link" else Device, where=f"{name}.yaml")


def _changed(link: Link, value: str, name: str) -> Link:
    """`link` at the rate or the SNR in `value`, under its own name with that behind it."""
    bounds = {kind: typing.get_args(unit)[1] for kind, unit in (("bit_s", BitRate), ("db", Decibel))}
    kind = "db" if value.strip().endswith("dB") else "bit_s"
    limits = {bound: getattr(bounds[kind], bound) for bound in ("gt", "ge", "le")}
    try:
        number = parse(value, kind, **limits)
    except UnitError as error:
        raise ProfileError(str(error), at=f"link {name}", fix="NAME@RATE, such as wifi-5@2Mbit/s") from error
    changed = at_snr(link, number) if kind == "db" else at_rate(link, number)
    return msgspec.structs.replace(changed, name=f"{link.name}@{value.strip()}")


_LINK: Any = Link  # a union is no class to mypy, but msgspec reads it


def _load(name: str | os.PathLike[str], kind: ProfileKind, shape: type[T]) -> T:
    text = os.fspath(name)
    if text.endswith((".yaml", ".yml")) or os.sep in text or "/" in text:
        return read_yaml(Path(text), shape)
    return decode_yaml(_text(kind, text), shape, where=f"{text}.yaml")


MOST_NEAR = 3  # names that an error suggests


def _unknown(kind: ProfileKind, name: str) -> ProfileError:
    shipped = _names(kind)
    close = [f"'{near}'" for near in difflib.get_close_matches(name, shipped, n=MOST_NEAR, cutoff=0.5)]
    meant = f" Did you mean {' or '.join(close)}?" if close else ""
    file = " A file's name ends in .yaml." if Path(name).is_file() else ""
    own = "" if kind == "link" else "; for your own: splitpoint calibrate"
    return ProfileError(f"unknown {kind} '{name}'.{meant}{file} (splitpoint profiles{own})")


def _folder(kind: ProfileKind) -> Traversable:
    return importlib.resources.files("splitpoint.profiles.library") / _FOLDERS[kind]


def _names(kind: ProfileKind) -> list[str]:
    folder = _folder(kind)
    if not folder.is_dir():
        return []
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _text(kind: ProfileKind, name: str) -> str:
    """The file of that name alone: a plan does not read the rest of the library."""
    entry = _folder(kind) / f"{name}.yaml"
    if not entry.is_file():
        raise _unknown(kind, name)
    return entry.read_text(encoding="utf-8")
