"""Typed files: YAML in, msgspec structs out, with the file and the field's path in every error; atomic writing.

A quantity field (one of `units`' annotated types) takes text with a unit, and a bare SI number where its name says the
unit. Any leaf may also be `{value, source, quote, date}`: the value is used, `decode_sources` gives the provenance.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import glob
import math
import os
import secrets
from collections.abc import Callable, Hashable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import inspect as shapes

from splitpoint.profiles import units
from splitpoint.profiles.errors import ProfileError, shorten
from splitpoint.profiles.files import yaml12
from splitpoint.profiles.files.held import hold, remove_if_dead
from splitpoint.profiles.files.regular import read_bytes, read_text

__all__ = [
    "Source",
    "decode_sources",
    "decode_tree",
    "decode_yaml",
    "dump_yaml",
    "parse_yaml_mapping",
    "read_bytes",
    "read_text",
    "read_yaml",
    "write_bytes",
    "write_text",
    "write_yaml",
]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")

_SOURCE_KEYS = frozenset({"value", "source", "quote", "date"})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a number comes from: a URL or document, the figure as it is printed there, and the day it was read."""

    value: object
    source: str | None
    quote: str | None
    date: str | None


def read_yaml(path: str | os.PathLike[str], kind: type[T]) -> T:
    """The file as a value of `kind` (a Struct or a tagged union of Structs).

    Raises ProfileError that names the file, the field's path and the next step.
    """
    return decode_yaml(read_text(path), kind, where=str(path))


def decode_yaml(text: str, kind: type[T], *, where: str) -> T:
    """YAML text as a value of `kind`; `where` is what errors call the text."""
    return decode_tree(yaml12.load(text, where), kind, where=where)


def decode_tree(tree: object, kind: type[T], *, where: str) -> T:
    """What `yaml12.load` gave as a value of `kind`; for a look at one field before the whole is typed."""
    resolved = _resolve(tree, _shape(kind), "$", where, {})
    try:
        return msgspec.convert(resolved, kind)
    except msgspec.ValidationError as error:
        raise ProfileError(f"{where}: {error}") from error


def parse_yaml_mapping(path: str | os.PathLike[str]) -> dict[str, object]:
    """The file as plain YAML, for a look at one field before the whole is typed (a format version)."""
    tree = yaml12.load(read_text(path), str(path))
    if not isinstance(tree, dict):
        raise ProfileError(f"{path}: expected a mapping of fields, got {type(tree).__name__}")
    return tree


def decode_sources(text: str, kind: type[T], *, where: str) -> dict[str, Source]:
    """Every sourced leaf of YAML text by its path ("$.compute.dense_macs_s")."""
    found: dict[str, Source] = {}
    _resolve(yaml12.load(text, where), _shape(kind), "$", where, found)
    return found


def write_yaml(path: str | os.PathLike[str], value: msgspec.Struct) -> None:
    """Write `value` atomically: readers see the old file or the whole new one."""
    write_text(path, dump_yaml(value))


def dump_yaml(value: msgspec.Struct) -> str:
    """`value` as YAML, fields in their declared order, floats by repr, null where a number is not known.

    A quantity whose field does not say its unit is written with it, so that the text can be read back.
    """
    return yaml12.dump(_with_units(msgspec.to_builtins(value), _shape(type(value))))


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes atomically: a temporary file in the same folder, then `os.replace`.

    Temporary files of processes that died while they wrote to the same path are removed.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        for left in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 8}.tmp"):
            remove_if_dead(left)
        with temporary.open("xb") as file:
            hold(file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise ProfileError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)  # already moved, unless something (Ctrl-C too) went wrong


def _shape(kind: object) -> shapes.Type:
    return _cached_shape(kind)


@functools.cache
def _cached_shape(kind: Hashable) -> shapes.Type:
    return shapes.type_info(kind)


def _resolve(tree: object, shape: shapes.Type, at: str, where: str, sources: dict[str, Source]) -> object:
    """`tree` with every quantity as an SI number and every sourced leaf as its value."""
    if isinstance(tree, dict) and _is_sourced(tree, shape):
        texts = {key: None if tree.get(key) is None else str(tree[key]) for key in ("source", "quote", "date")}
        sources[at] = Source(value=tree["value"], **texts)
        tree = tree["value"]
    if isinstance(shape, shapes.UnionType):
        shape = _member(tree, shape.types, at, where)
    if isinstance(shape, shapes.Metadata):
        kind = (shape.extra or {}).get("kind")
        if kind is not None and tree is not None:
            return _quantity(tree, kind, shape.type, at, where)
        return _resolve(tree, shape.type, at, where, sources)
    if isinstance(shape, shapes.StructType) and isinstance(tree, dict):
        return _resolve_struct(tree, shape, at, where, sources)
    if isinstance(shape, shapes.DictType) and isinstance(tree, dict):
        return {key: _resolve(value, shape.value_type, f"{at}.{key}", where, sources) for key, value in tree.items()}
    if isinstance(shape, shapes.ListType | shapes.VarTupleType | shapes.SetType) and isinstance(tree, list):
        return [_resolve(value, shape.item_type, f"{at}[{i}]", where, sources) for i, value in enumerate(tree)]
    if isinstance(shape, shapes.LiteralType) and isinstance(tree, str) and tree not in shape.values:
        known = {str(value): None for value in shape.values}
        raise ProfileError(
            f"{where}: expected one of {', '.join(known)}, got {shorten(repr(tree))} - at `{at}`",
            fix=_did_you_mean(tree, known, "one of"),
        )
    if isinstance(shape, shapes.FloatType) and isinstance(tree, float) and not math.isfinite(tree):
        raise ProfileError(f"{where}: expected a finite number, got {tree} - at `{at}`")
    return tree


def _is_sourced(tree: dict[str, object], shape: shapes.Type) -> bool:
    """Whether a mapping is a leaf with its source; a mapping of the user's may have a key "value" of its own."""
    if "value" not in tree or not tree.keys() <= _SOURCE_KEYS or _has_field(shape, "value"):
        return False
    members = shape.types if isinstance(shape, shapes.UnionType) else (shape,)
    return len(tree) > 1 or not any(isinstance(member, shapes.DictType) for member in members)


def _resolve_struct(
    tree: dict[str, object], shape: shapes.StructType, at: str, where: str, sources: dict[str, Source]
) -> dict[str, object]:
    fields = {field.encode_name: field for field in shape.fields}
    out: dict[str, object] = {}
    for key, value in tree.items():
        if key in fields:
            shape_of_field = fields[key].type
            if _unclear_kind(key, shape_of_field) is not None:  # then a bare number reads as text without its unit
                value = _map_numbers(value, lambda number: str(number) if number else number)
            out[key] = _resolve(value, shape_of_field, f"{at}.{key}", where, sources)
        elif key == shape.tag_field:
            out[key] = value
        else:
            raise ProfileError(
                f"{where}: unknown field '{shorten(key)}' - at `{at}`", fix=_did_you_mean(key, fields, "the fields are")
            )
    for name, field in fields.items():
        if field.required and name not in out:
            raise ProfileError(f"{where}: missing field '{name}' - at `{at}`", fix=_hint(field.type, name))
    return out


def _with_units(tree: object, shape: shapes.Type) -> object:
    """`tree` with the unit of every quantity whose field does not say it."""
    if isinstance(shape, shapes.UnionType):
        shape = _member(tree, shape.types, "$", "")
    if isinstance(shape, shapes.VarTupleType | shapes.ListType) and isinstance(tree, list | tuple):
        return [_with_units(value, shape.item_type) for value in tree]
    if not isinstance(shape, shapes.StructType) or not isinstance(tree, dict):
        return tree
    types = {field.encode_name: field.type for field in shape.fields}
    out: dict[str, object] = {}
    for key, value in tree.items():
        kind = _unclear_kind(key, types[key]) if key in types else None
        if kind is not None:
            out[key] = _map_numbers(value, functools.partial(units.spell, kind=kind))
        else:
            out[key] = _with_units(value, types[key]) if key in types else value
    return out


def _unclear_kind(field: str, shape: shapes.Type) -> str | None:
    """The kind of quantity in a field whose name does not say its unit; None for everything else."""
    if isinstance(shape, shapes.Metadata):
        kind = (shape.extra or {}).get("kind")
        return None if kind is None or units.named_by(field, kind) else str(kind)
    if isinstance(shape, shapes.UnionType):
        return next((kind for member in shape.types if (kind := _unclear_kind(field, member)) is not None), None)
    if isinstance(shape, shapes.ListType | shapes.VarTupleType | shapes.SetType):
        return _unclear_kind(field, shape.item_type)
    return _unclear_kind(field, shape.value_type) if isinstance(shape, shapes.DictType) else None


def _map_numbers(tree: object, change: Callable[[int | float], object]) -> object:
    """`tree` with every finite number in it changed."""
    if isinstance(tree, dict):
        return {key: _map_numbers(value, change) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_map_numbers(value, change) for value in tree]
    number = isinstance(tree, int | float) and not isinstance(tree, bool) and abs(tree) < math.inf
    return change(tree) if number else tree  # type: ignore[arg-type]  # a number


def _quantity(tree: object, kind: str, number: shapes.Type, at: str, where: str) -> float | int:
    bounds: dict[str, float] = {}
    if isinstance(number, shapes.FloatType | shapes.IntType):
        limits = {"gt": number.gt, "ge": number.ge, "lt": number.lt, "le": number.le}
        bounds = {name: float(limit) for name, limit in limits.items() if limit is not None}
    try:
        value = units.parse(tree, kind, **bounds)
    except units.UnitError as error:
        meant = None if error.suggestion is None else f'did you mean "{error.suggestion}"?'
        raise ProfileError(f"{where}: {error} - at `{at}`", fix=meant) from error
    if isinstance(number, shapes.IntType):
        if isinstance(tree, int):
            return tree  # exact beyond 2^53 too
        exact = units.parse_exact(tree, kind) if isinstance(tree, str) else Fraction(value)
        if exact.denominator != 1:
            raise ProfileError(f"{where}: expected a whole number, got {shorten(repr(tree))} - at `{at}`")
        return exact.numerator
    return value


def _member(tree: object, members: tuple[shapes.Type, ...], at: str, where: str) -> shapes.Type:
    """The member of a union that `tree` looks like; msgspec makes the final check."""
    structs = [member for member in members if isinstance(member, shapes.StructType)]
    if isinstance(tree, dict):
        tags = {member.tag: member for member in structs if member.tag is not None}
        if tags:
            return _tagged(tree, structs[0].tag_field or "type", tags, at, where)
        return next((m for m in members if isinstance(m, shapes.StructType | shapes.DictType)), members[0])
    if isinstance(tree, list):
        arrays = shapes.ListType | shapes.VarTupleType | shapes.SetType | shapes.TupleType
        return next((m for m in members if isinstance(m, arrays)), members[0])
    if tree is None:
        return next((m for m in members if isinstance(m, shapes.NoneType)), members[0])
    if isinstance(tree, str) and any(isinstance(m, shapes.StrType | shapes.LiteralType) for m in members):
        return next(m for m in members if isinstance(m, shapes.StrType | shapes.LiteralType))
    return next((m for m in members if isinstance(m, shapes.Metadata)), members[0])


def _tagged(
    tree: dict[str, object], field: str, tags: Mapping[str | int, shapes.StructType], at: str, where: str
) -> shapes.Type:
    by_text = {str(tag): member for tag, member in tags.items()}
    if field not in tree:
        raise ProfileError(f"{where}: missing field '{field}' - at `{at}`", fix=f"one of {', '.join(by_text)}")
    tag = str(tree[field])
    if tag not in by_text:
        raise ProfileError(
            f"{where}: unknown {field} {shorten(repr(tag))} - at `{at}.{field}`",
            fix=_did_you_mean(tag, by_text, "one of"),
        )
    return by_text[tag]


def _has_field(shape: shapes.Type, name: str) -> bool:
    if isinstance(shape, shapes.UnionType):
        return any(_has_field(member, name) for member in shape.types)
    return isinstance(shape, shapes.StructType) and any(field.encode_name == name for field in shape.fields)


def _did_you_mean(name: str, known: Mapping[str, object], otherwise: str) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else f"{otherwise} {', '.join(known)}"


def _hint(shape: shapes.Type, name: str) -> str | None:
    """What a missing field would look like."""
    if isinstance(shape, shapes.UnionType):
        shape = next((m for m in shape.types if isinstance(m, shapes.Metadata)), shape)
    kind = (shape.extra or {}).get("kind") if isinstance(shape, shapes.Metadata) else None
    return None if kind is None else f'add {units.KINDS[kind].noun}, such as {name}: "{units.KINDS[kind].example}"'
