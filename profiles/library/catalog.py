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
from splitpoint.profiles.files.structs import (
    Source,
    decode_sources,
    decode_yaml,
    parse_yaml_mapping,
    read_text,
    read_yaml,
)
from splitpoint.profiles.library.whole_networks import BOARDS
from splitpoint.profiles.link.adjust import at_rate, at_snr
from splitpoint.profiles.link.link import Link, TraceLink
from splitpoint.profiles.link.trace import filled
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.units import BitRate, Decibel, UnitError, parse

__all__ = [
    "Found",
    "ProfileKind",
    "Shipped",
    "find_profile",
    "list_profiles",
    "load_device",
    "load_link",
    "load_server",
    "sources",
]


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


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A profile of any kind that was asked for by name, or by path, with the sources of its numbers by their path."""

    kind: ProfileKind  # a file's machine is a device: one file serves as device and as server
    profile: Device | Link
    sources: Mapping[str, Source]


def load_device(name: str | os.PathLike[str]) -> Device:
    """The device of that name or in that file, with the CPU that its accelerator falls back to.

    Raises ProfileError, with the nearest name for an unknown one.
    """
    return _with_cpu(_load(name, "device", Device), name)


def load_server(name: str | os.PathLike[str]) -> Device:
    """The server of that name or in that file; a server is a Device too."""
    return _with_cpu(_load(name, "server", Device), name)


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


def find_profile(name: str) -> Found:
    """The profile of that name, or in that file, whatever its kind; a link may be "NAME@RATE" or "NAME@SNR".

    Raises `ProfileError`, with the nearest names of all kinds for an unknown one.
    """
    base = name.rpartition("@")[0] or name
    kinds = [kind for kind in _FOLDERS if base in _names(kind)]
    if not kinds and _is_file(name):
        kind: ProfileKind = "link" if "kind" in parse_yaml_mapping(name) else "device"
        found = decode_sources(read_text(name), _LINK if kind == "link" else Device, where=name)
        return Found(kind=kind, profile=load_link(name) if kind == "link" else _load(name, kind, Device), sources=found)
    if not kinds or (kinds[0] != "link" and base != name):
        raise _unknown(None, name)
    found = sources(kinds[0], base)
    if kinds[0] != "link":
        return Found(kind=kinds[0], profile=_load(name, kinds[0], Device), sources=found)
    link, shipped = load_link(name), load_link(base)
    # What was asked for in place of a shipped figure has no source.
    kept = {
        path: source
        for path, source in found.items()
        if getattr(link, field := path.split(".")[1].split("[")[0]) == getattr(shipped, field)
    }
    return Found(kind="link", profile=link, sources=kept)


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
    if _is_file(text):
        return read_yaml(Path(text), shape)
    return decode_yaml(_text(kind, text), shape, where=f"{text}.yaml")


def _with_cpu(device: Device, name: str | os.PathLike[str]) -> Device:
    """`device` with the profile of the CPU that its accelerator falls back to, from a path relative to its own file."""
    fallback = None if device.accelerator is None else device.accelerator.fallback
    if device.accelerator is None or fallback is None:
        return device
    where, cpu = os.fspath(name), fallback.cpu
    if fallback.device is not None:
        raise ProfileError(
            f"{where}: the CPU is named, not described here - at `$.accelerator.fallback.device`",
            fix="remove device and write its profile's name at cpu",
        )
    found = _load(Path(where).parent / cpu if _is_file(cpu) else cpu, "device", Device)
    if found.accelerator is not None:
        raise ProfileError(
            f"{where}: {cpu} is an accelerator, and what falls back needs a processor that runs every operator"
            " - at `$.accelerator.fallback.cpu`",
            fix="name the profile of the board's CPU",
        )
    fallback = msgspec.structs.replace(fallback, device=found)
    return msgspec.structs.replace(device, accelerator=msgspec.structs.replace(device.accelerator, fallback=fallback))


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or os.sep in name or "/" in name


MOST_NEAR = 3  # names that an error suggests


def _unknown(kind: ProfileKind | None, name: str) -> ProfileError:
    """The error of a name that no profile of `kind` has; None: of any kind."""
    shipped = [known for each in _FOLDERS if kind in (None, each) for known in _names(each)]
    if kind != "link" and name in BOARDS:
        chip = f"{name.removesuffix('-npu')}-"
        instead = "".join(f"--{kind or 'device'} {known}, or " for known in shipped if known.startswith(chip))
        return ProfileError(
            f"'{name}' has published figures of whole networks only: nothing in them says what a cut costs",
            at=f"{kind or BOARDS[name].kind} {name}",
            fix=f"splitpoint profiles {name} shows them; for a plan {instead}measure the board: splitpoint calibrate",
        )
    if kind is None:  # these are shown, and a plan refuses them
        shipped += BOARDS
    close = [f"'{near}'" for near in difflib.get_close_matches(name, shipped, n=MOST_NEAR, cutoff=0.5)]
    meant = f" Did you mean {' or '.join(close)}?" if close else ""
    file = " A file's name ends in .yaml." if Path(name).is_file() else ""
    own = "" if kind == "link" else "; for your own: splitpoint calibrate"
    return ProfileError(f"unknown {kind or 'profile'} '{name}'.{meant}{file} (splitpoint profiles{own})")


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
