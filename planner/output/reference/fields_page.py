"""docs/reference/configuration-fields.md: every field of the files that users write, from the code that reads them.

``python -m splitpoint.planner.output.reference.fields_page FILE`` writes the page; without FILE, that of the current
folder. A test compares the page with this module.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import inspect as shapes

from splitpoint.planner.output.schema import FILES
from splitpoint.profiles.files.fields import Field, kind_of, list_fields, list_structs
from splitpoint.profiles.files.schemas import bounds_of
from splitpoint.profiles.files.structs import write_text
from splitpoint.profiles.units import KINDS, named_by

__all__ = ["fields_page", "main"]


def __dir__() -> list[str]:
    return __all__


PAGE = Path("docs") / "reference" / "configuration-fields.md"
# File -> title, heading of the fields that are not in a block, what else there is to say.
TITLES: Mapping[str, tuple[str, str, str]] = {
    "configuration": ("Configuration", "plan", "[An example of every field, and what it does](../configuration.md)."),
    "device": (
        "Device or server",
        "device",
        "The file of a server has the same fields. [How to make one](../how-to/own-device.md).",
    ),
    "link": ("Link", "every link", "`kind` says which kind of link it is. [How to make one](../how-to/own-link.md)."),
}
HEAD = """# Fields of configurations, devices, servers and links

<!-- python -m splitpoint.planner.output.reference.fields_page writes this page; nothing here is kept by hand. -->

All that these files may say. Any single value may also be `{value, source, quote, date}`: with where it comes from.
What several fields must have in common is checked when a file is read.

## Quantities

A quantity is text with a unit (`55 ms`). A bare number is refused, unless the field's name says its unit (`rtt_s`) or
the quantity has none (a fraction); 0 needs no unit. k is 1000, Ki is 1024.

"""
Headings = Mapping[type[msgspec.Struct], str]


def fields_page() -> str:
    """The page as Markdown."""
    rows = [
        (kind.noun, f"`{kind.example}`", ", ".join(f"`{unit}`" if unit else "none" for unit in kind.units))
        for kind in KINDS.values()
    ]
    sections = [section for name in FILES for section in _sections(name)]
    return HEAD + "\n".join([_table(("quantity", "example", "units"), rows), *sections])


def _sections(name: str) -> Iterator[str]:
    """The tables of one file: what all its kinds have, and then each struct once, in the order of the fields."""
    title, own, more = TITLES[name]
    yield f"## {title}\n\n{more} [JSON Schema](../schema/{name}.json).\n"
    kinds = list_structs(shapes.type_info(FILES[name]))
    headings: dict[type[msgspec.Struct], str] = {}
    _find_headings(kinds, "", own, headings)
    common = set.intersection(*({field.name for field in list_fields(kind)} for kind in kinds)) if kinds[1:] else set()
    if common:
        yield _block(own, "", [field for field in list_fields(kinds[0]) if field.name in common], headings)
    for struct, heading in headings.items():
        fields = [field for field in list_fields(struct) if struct not in kinds or field.name not in common]
        yield _block(heading, inspect.getdoc(struct) or "", fields, headings)


def _find_headings(
    structs: Sequence[type[msgspec.Struct]], path: str, own: str, found: dict[type[msgspec.Struct], str]
) -> None:
    """Put each struct into `found` with its heading: where it stands in the file, and of which kind it is."""
    new = [struct for struct in structs if struct not in found]
    for struct in new:
        tag = struct.__struct_config__.tag
        found[struct] = (path or own) if tag is None else f"{path}.kind: {tag}".removeprefix(".")
    for struct in new:
        for field in list_fields(struct):
            _find_headings(list_structs(field.shape), f"{path}.{field.name}".removeprefix("."), own, found)


def _block(heading: str, text: str, fields: Sequence[Field], headings: Headings) -> str:
    rows = [
        (f"`{field.name}`", _takes(field.shape, field.name, headings), _default(field), field.meaning)
        for field in fields
    ]
    table = _table(("field", "takes", "default", "what it is"), rows)
    return f"### {heading}\n\n{text}\n\n{table}" if text else f"### {heading}\n\n{table}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _takes(shape: shapes.Type, field: str, headings: Headings) -> str:
    """What a value may be, in words."""
    if isinstance(shape, shapes.UnionType):
        return "; or ".join(_takes(member, field, headings) for member in shape.types)
    if (kind := kind_of(shape)) is not None:
        unit = KINDS[kind].si
        noun = f"{KINDS[kind].noun} or a number of {unit}" if unit and named_by(field, kind) else KINDS[kind].noun
        return f"{noun}, {_range(shape)} {unit}".rstrip()
    if isinstance(shape, shapes.StructType):
        heading = headings[shape.cls]
        return f"[{heading}](#{_anchor(heading)})"
    if isinstance(shape, shapes.VarTupleType | shapes.ListType):
        longest = "list" if shape.max_length is None else f"list of at most {shape.max_length:,}"
        return f"{longest}: {_takes(shape.item_type, field, headings)}"
    if isinstance(shape, shapes.TupleType):
        return f"list of {len(shape.item_types)}: {_takes(shape.item_types[0], field, headings)}"
    if isinstance(shape, shapes.DictType):
        return f"by name: {_takes(shape.value_type, field, headings)}"
    return _scalar(shape)


def _scalar(shape: shapes.Type) -> str:
    inner = shape.type if isinstance(shape, shapes.Metadata) else shape
    if isinstance(inner, shapes.LiteralType):
        return ", ".join(f"`{value}`" for value in inner.values)
    if isinstance(inner, shapes.IntType | shapes.FloatType):
        noun = "whole number" if isinstance(inner, shapes.IntType) else "number"
        return f"{noun}, {within}" if (within := _range(shape)) else noun
    if isinstance(inner, shapes.StrType):
        return "text" if inner.pattern is None else f"text like `{inner.pattern}`"
    if isinstance(inner, shapes.BoolType):
        return "`true`, `false`"
    return "`null`" if isinstance(inner, shapes.NoneType) else "any value"


def _range(shape: shapes.Type) -> str:
    """The bounds of a number: "1 to 1,024", "more than 0, at most 1e9"; empty without bounds."""
    bounds = {name: _short(bound) for name, bound in bounds_of(shape).items()}
    if bounds.keys() == {"minimum", "maximum"}:
        return f"{bounds['minimum']} to {bounds['maximum']}"
    words = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "exclusiveMaximum": "below"}
    return ", ".join(f"{word} {bounds[name]}" for name, word in words.items() if name in bounds)


def _short(bound: float) -> str:
    """ "268,435,456", "1e9", "1e-15"; above 1e12 with three digits."""
    exponent = re.sub(r"e\+?(-?)0*", r"e\1", f"{bound:.3g}")
    if bound == 0 or 1e-3 <= abs(bound) < 1e9 or (1e9 <= abs(bound) < 1e12 and float(exponent) != bound):
        return f"{bound:,.15g}"
    return exponent


def _default(field: Field) -> str:
    if field.required:
        return "required"
    if field.default == {} and isinstance(field.shape, shapes.StructType):
        return "those of its fields"
    return f"`{_flow(field.default)}`"


def _flow(value: object) -> str:
    """A value as YAML has it on one line."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_flow(each)}' for key, each in value.items())}}}"
    return value if isinstance(value, str) and value else json.dumps(value)


def _anchor(heading: str) -> str:
    """The anchor that MkDocs gives a heading."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page to FILE; gives the exit code 0. Raises `ProfileError` where it cannot."""
    given = sys.argv[1:] if argv is None else list(argv)
    write_text(Path(given[0]) if given else PAGE, fields_page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
