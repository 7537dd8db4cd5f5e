"""Every figure of a profile by the path of its field, with its unit and its source; and what is not known."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect as shapes

from splitpoint.profiles.files.structs import Source
from splitpoint.profiles.units import KINDS

__all__ = ["Figure", "list_figures", "list_unknown"]


def __dir__() -> list[str]:
    return __all__


_WORDS = frozenset({"name", "description"})  # of the profile itself
# Without them another law or another way of knowing holds, or there is no such limit; nothing is missing.
_OPTIONAL = frozenset(
    {
        *(
            "compute.kernels",
            "accelerator",
            "machine",
            "fingerprint",
            "spread",
            "family",
            "price",
            "max_payload_bytes",
            "file",
            "format",
        ),
        *("accelerator.runs", "accelerator.lacks", "accelerator.takes", "accelerator.fallback"),
        "accelerator.fallback.device",
        *("memory.model_bytes", "memory.fast_weight_bytes", "memory.weight_stream_bytes_s", "serial.thread_macs_s"),
    }
)
_OPTIONAL_ENDS = ("].macs", ".spread")  # of published networks and of coders


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One leaf of a profile: a number in SI units, a word, or a list of numbers; words of a list are one word."""

    path: str  # "compute.dense_macs_s"
    value: float | str | tuple[float, ...]
    kind: str | None  # of quantity (`units.KINDS`); None: a word or a number without a unit
    source: Source | None  # None: the file gives none

    @property
    def unit(self) -> str | None:
        """The SI unit of the value; None where there is none."""
        return None if self.kind is None else KINDS[self.kind].si or None


def list_figures(profile: msgspec.Struct, sources: Mapping[str, Source]) -> tuple[Figure, ...]:
    """The figures in the order of the fields; `sources` are by path, as `structs.decode_sources` gives them."""
    return tuple(
        Figure(path=path, value=value, kind=_kind(shape), source=sources.get(f"$.{path}"))
        for path, value, shape in _leaves(profile, "")
        if value not in (None, "", ()) and path not in _WORDS
    )


def list_unknown(profile: msgspec.Struct) -> tuple[str, ...]:
    """Paths of what the profile could say and does not."""
    return tuple(
        path
        for path, value, _ in _leaves(profile, "")
        if value is None and path not in _OPTIONAL and not path.endswith(_OPTIONAL_ENDS)
    )


def _leaves(value: Any, at: str, shape: shapes.Type | None = None) -> Iterator[tuple[str, Any, shapes.Type]]:
    if isinstance(value, msgspec.Struct):
        described = shapes.type_info(type(value))
        assert isinstance(described, shapes.StructType)
        for field in described.fields:
            path = f"{at}.{field.name}".removeprefix(".")
            yield from _leaves(getattr(value, field.name), path, field.type)
        return
    assert shape is not None  # a field has one
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{at}.{key}", shape)
    elif isinstance(value, tuple) and all(isinstance(item, msgspec.Struct) for item in value):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{at}[{i}]", shape)
    elif isinstance(value, tuple) and value and all(isinstance(item, str) for item in value):
        yield at, ", ".join(value), shape
    elif isinstance(value, bool):
        yield at, "yes" if value else "", shape
    else:
        yield at, value, shape


def _kind(shape: shapes.Type) -> str | None:
    """The kind of quantity of a field, or of the items of a list."""
    if isinstance(shape, shapes.UnionType):
        return next((kind for member in shape.types if (kind := _kind(member)) is not None), None)
    if isinstance(shape, shapes.VarTupleType):
        return _kind(shape.item_type)
    kind = (shape.extra or {}).get("kind") if isinstance(shape, shapes.Metadata) else None
    return None if kind is None else str(kind)
