"""JSON Schemas of the files that `profiles.files.structs` reads, by its rules: quantities are text with a unit.

A schema says less than the reader where numbers must be computed or compared: the range of a quantity in text, and what
two fields must have in common. Everything else that the reader refuses is refused, and all that it takes is taken.
"""

from __future__ import annotations

import inspect
from typing import Any

from msgspec import inspect as shapes

from splitpoint.profiles.files.fields import Field, kind_of, list_fields, list_structs
from splitpoint.profiles.units import KINDS, named_by, text_schema

__all__ = ["bounds_of", "file_schema"]


def __dir__() -> list[str]:
    return __all__


_SOURCE = {  # `structs.Source`
    "type": "object",
    "description": "A value with its source.",
    "properties": {
        "value": {},
        "source": {"description": "a URL or a document"},
        "quote": {"description": "the figure as it is printed there"},
        "date": {"description": "the day it was read"},
    },
    "required": ["value"],
    "additionalProperties": False,
}
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def file_schema(kind: object) -> dict[str, Any]:
    """The schema (draft 2020-12) of a file that `read_yaml(path, kind)` takes: a struct, or a union of tagged ones.

    Raises ProfileError for a field of which nothing says what it means.
    """
    defs: dict[str, Any] = {"Source": _SOURCE}
    root = _schema(shapes.type_info(kind), "", "#", defs)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": defs}


def bounds_of(shape: shapes.Type) -> dict[str, float]:
    """The bounds of a number under JSON Schema's names, those that only a schema has among them."""
    number = shape.type if isinstance(shape, shapes.Metadata) else shape
    said = (shape.extra_json_schema or {}) if isinstance(shape, shapes.Metadata) else {}
    own = {name: getattr(number, attribute, None) for attribute, name in _BOUNDS.items()}
    return {name: bound for name, bound in own.items() if bound is not None} | {
        name: said[name] for name in _BOUNDS.values() if name in said
    }


def _schema(shape: shapes.Type, field: str, at: str, defs: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value of `field`; `at` is its place in the file's schema, for references to parts of it."""
    if isinstance(shape, shapes.StructType):
        return {"$ref": f"#/$defs/{_define(shape, defs)}"}
    if isinstance(shape, shapes.NoneType):
        return {"type": "null"}
    if list_structs(shape):
        return _of_structs(shape, field, at, defs)
    inner = f"{at}/anyOf/0"
    source = {"$ref": "#/$defs/Source", "properties": {"value": {"$ref": inner}}}
    return {"anyOf": [_leaf(shape, field, inner, defs), source]}


def _of_structs(shape: shapes.Type, field: str, at: str, defs: dict[str, Any]) -> dict[str, Any]:
    """Of a union, a list or a mapping with structs in it."""
    if isinstance(shape, shapes.UnionType):
        members = enumerate(shape.types)
        return {"anyOf": [_schema(member, field, f"{at}/anyOf/{i}", defs) for i, member in members]}
    if isinstance(shape, shapes.VarTupleType | shapes.ListType):
        return _array(shape, _schema(shape.item_type, field, f"{at}/items", defs))
    assert isinstance(shape, shapes.DictType)
    return {
        "type": "object",
        "additionalProperties": _schema(shape.value_type, field, f"{at}/additionalProperties", defs),
    }


def _leaf(shape: shapes.Type, field: str, at: str, defs: dict[str, Any]) -> dict[str, Any]:
    """Of what no struct is in, its source left out."""
    if kind_of(shape) is not None:
        return _quantity(shape, str(kind_of(shape)), field)
    if isinstance(shape, shapes.Metadata):
        return _leaf(shape.type, field, at, defs) | bounds_of(shape)
    if isinstance(shape, shapes.UnionType):
        return {"anyOf": [_leaf(member, field, f"{at}/anyOf/{i}", defs) for i, member in enumerate(shape.types)]}
    if isinstance(shape, shapes.VarTupleType | shapes.ListType):
        return _array(shape, _schema(shape.item_type, field, f"{at}/items", defs))
    if isinstance(shape, shapes.TupleType):
        items = [_schema(item, field, f"{at}/prefixItems/{i}", defs) for i, item in enumerate(shape.item_types)]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if isinstance(shape, shapes.DictType):
        values = _schema(shape.value_type, field, f"{at}/additionalProperties", defs)
        return {"type": "object", "additionalProperties": values}
    return _scalar(shape)


def _array(shape: shapes.VarTupleType | shapes.ListType, items: dict[str, Any]) -> dict[str, Any]:
    longest = {} if shape.max_length is None else {"maxItems": shape.max_length}
    return {"type": "array", "items": items, **longest}


def _scalar(shape: shapes.Type) -> dict[str, Any]:
    if isinstance(shape, shapes.LiteralType):
        return {"enum": list(shape.values)}
    if isinstance(shape, shapes.StrType):
        return {"type": "string", **({} if shape.pattern is None else {"pattern": shape.pattern})}
    if isinstance(shape, shapes.IntType | shapes.FloatType):
        return {"type": "integer" if isinstance(shape, shapes.IntType) else "number", **bounds_of(shape)}
    if isinstance(shape, shapes.BoolType):
        return {"type": "boolean"}
    if isinstance(shape, shapes.NoneType):
        return {"type": "null"}
    if isinstance(shape, shapes.AnyType):
        return {}
    raise TypeError(f"no rule of the reader for {shape}")


def _quantity(shape: shapes.Type, kind: str, field: str) -> dict[str, Any]:
    """Text with a unit; and a bare number where the field's name says the unit, or 0, which has none."""
    bounds, wanted = bounds_of(shape), KINDS[kind]
    least = bounds.get("minimum", bounds.get("exclusiveMinimum"))
    text = text_schema(kind, negative=least is None or least < 0)
    said = f'{wanted.noun} such as "{wanted.example}" ({", ".join(filter(None, wanted.units))})'
    if named_by(field, kind):
        said += f", or a number of {wanted.si}" if wanted.si else ", or a number"
    elif bounds.get("minimum", 1) <= 0:
        bounds = {"minimum": 0, "maximum": 0}
    else:
        return {"description": said, **text}
    whole = isinstance(shape, shapes.Metadata) and isinstance(shape.type, shapes.IntType)
    return {"description": said, **text, "type": ["string", "integer" if whole else "number"], **bounds}


def _define(shape: shapes.StructType, defs: dict[str, Any]) -> str:
    """Put the struct into `defs`, unless it is there; gives its name."""
    name = shape.cls.__name__
    if name not in defs:
        defs[name] = {}  # one that contains itself refers to this place
        fields = list_fields(shape.cls)
        at = f"#/$defs/{name}/properties"
        tag = (
            {}
            if shape.tag is None
            else {str(shape.tag_field): {"description": "which kind this is", "const": shape.tag}}
        )
        defs[name] = {
            "type": "object",
            "description": inspect.getdoc(shape.cls),
            "properties": tag | {field.name: _property(field, f"{at}/{field.name}", defs) for field in fields},
            "required": [*tag, *(field.name for field in fields if field.required)],
            "additionalProperties": False,
        }
    return name


def _property(field: Field, at: str, defs: dict[str, Any]) -> dict[str, Any]:
    default = {} if field.required else {"default": field.default}
    return {"description": field.meaning, **_schema(field.shape, field.name, at, defs), **default}
