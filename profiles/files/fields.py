"""The fields of a struct that users write in files: shape, default, and what each means, from the comment at its line.

Documentation is made of them: JSON Schemas (`profiles.files.schemas`) and tables of fields. Reading a file needs none.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Mapping

import msgspec
from msgspec import inspect as shapes

from splitpoint.profiles import units
from splitpoint.profiles.errors import ProfileError

__all__ = ["NOT_IN_FILES", "Field", "kind_of", "list_fields", "list_structs"]


def __dir__() -> list[str]:
    return __all__


NOT_IN_FILES = msgspec.Meta(extra={"in_files": False})  # of a field that is set when the file was read


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One field, under its name in files."""

    name: str
    shape: shapes.Type
    required: bool
    default: object  # where it is not required: what holds when it is left out, as a file says it
    meaning: str


def list_fields(struct: type[msgspec.Struct]) -> tuple[Field, ...]:
    """The fields that a file may have, in their order, without the tag.

    What one means is the description of its type, else the comment behind it, else the comment above it, else what
    the one struct that it contains says of itself. Raises ProfileError for a field of which nothing is said.
    """
    described = shapes.type_info(struct)
    assert isinstance(described, shapes.StructType)
    parents = reversed(struct.__mro__[: struct.__mro__.index(msgspec.Struct)])
    comments = {name: text for parent in parents for name, text in _comments(parent).items()}
    return tuple(
        Field(
            name=field.encode_name,
            shape=field.type,
            required=field.required,
            default=None if field.required else _default(field),
            meaning=_meaning(struct, field, comments),
        )
        for field in described.fields
        if _extra(field.type).get("in_files", True)
    )


def list_structs(shape: shapes.Type) -> tuple[type[msgspec.Struct], ...]:
    """The structs that a value of this shape may be or contain, without those inside of them."""
    if isinstance(shape, shapes.StructType):
        return (shape.cls,)
    if isinstance(shape, shapes.Metadata):
        return list_structs(shape.type)
    if isinstance(shape, shapes.UnionType):
        return tuple(struct for member in shape.types for struct in list_structs(member))
    if isinstance(shape, shapes.VarTupleType | shapes.ListType):
        return list_structs(shape.item_type)
    return list_structs(shape.value_type) if isinstance(shape, shapes.DictType) else ()


def kind_of(shape: shapes.Type) -> str | None:
    """The kind of quantity (`units.KINDS`) of a number; None for everything else."""
    kind = _extra(shape).get("kind")
    return None if kind is None else str(kind)


def _extra(shape: shapes.Type) -> Mapping[str, object]:
    return (shape.extra or {}) if isinstance(shape, shapes.Metadata) else {}


def _default(field: shapes.Field) -> object:
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, msgspec.Struct):  # with all of its fields left out
        config = value.__struct_config__
        return {} if config.tag is None else {config.tag_field: config.tag}
    members = field.type.types if isinstance(field.type, shapes.UnionType) else (field.type,)
    kind = next((kind for member in members if (kind := kind_of(member)) is not None), None)
    if isinstance(value, int | float) and value and kind is not None and not units.named_by(field.encode_name, kind):
        short = units.format_quantity(value, kind)
        return short if units.parse(short, kind) == value else units.spell(value, kind)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return msgspec.to_builtins(value)


def _meaning(struct: type, field: shapes.Field, comments: Mapping[str, str]) -> str:
    text = _description(field.type) or comments.get(field.name)
    if text is None:
        inside = list_structs(field.type)
        text = (inspect.getdoc(inside[0]) or "").split("\n\n")[0].replace("\n", " ") if len(inside) == 1 else ""
    if not text:
        raise ProfileError(
            f"nothing says what {field.name} means - at `{struct.__module__}.{struct.__name__}`",
            fix="write a comment behind the field",
        )
    return re.sub(r"\bNone\b", "null", text)  # as files call it


def _description(shape: shapes.Type) -> str | None:
    if isinstance(shape, shapes.UnionType):
        return next((text for member in shape.types if (text := _description(member)) is not None), None)
    said = (shape.extra_json_schema or {}).get("description") if isinstance(shape, shapes.Metadata) else None
    return None if said is None else str(said)


def _comments(struct: type) -> dict[str, str]:
    """Field -> comment, of the class statement of `struct`; without one (`msgspec.defstruct`) there is none."""
    behind, alone = {}, {}
    tree, comments, own_line = _parsed(struct.__module__)
    found = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == struct.__name__), None)
    for node in () if found is None else found.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            behind[node.target.id] = " ".join(comments[line] for line in lines if line in comments)
            first = node.lineno
            while first - 1 in own_line:
                first -= 1
            alone[node.target.id] = " ".join(comments[line] for line in range(first, node.lineno))
    return {name: text for name in behind if (text := behind[name] or alone[name])}


@functools.cache
def _parsed(module: str) -> tuple[ast.Module, Mapping[int, str], frozenset[int]]:
    """A module's statements, its comments by line, and the lines that are a comment and nothing else."""
    source = inspect.getsource(sys.modules[module])
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT]
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens}
    own_line = frozenset(token.start[0] for token in tokens if token.line.lstrip().startswith("#"))
    return ast.parse(source), comments, own_line
