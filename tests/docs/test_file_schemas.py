"""Schemas of files that users write: every shipped file is valid, mistakes are not, and the reader agrees on both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from splitpoint.planner.output.schema import FILES, file_schema_text
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files import yaml12
from splitpoint.profiles.files.fields import list_fields, list_structs
from splitpoint.profiles.files.structs import decode_tree, dump_yaml
from splitpoint.tests.fuzz.text_changes import changed_yaml, generator

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "profiles" / "library"
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
TEXTS = {
    "configuration": [
        PAGE.partition("```yaml\n")[2].partition("```")[0],
        *(path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").glob("*.yaml"))),
    ],
    "device": [path.read_text(encoding="utf-8") for path in sorted(LIBRARY.glob("[ds]e*/*.yaml"))],
    "link": [path.read_text(encoding="utf-8") for path in sorted(LIBRARY.glob("links/*.yaml"))],
}
SCHEMAS: dict[str, Any] = {
    name: msgspec.json.decode((ROOT / f"docs/schema/{name}.json").read_bytes()) for name in FILES
}
VALIDATORS = {name: jsonschema.Draft202012Validator(schema) for name, schema in SCHEMAS.items()}
CHANGED = 150  # files of each kind; with 4,000 the one other disagreement is a source of a block that is null
# What no schema computes: numbers in text, and what several fields have in common.
BEYOND = r"(more|less) than|at least|at most|whole number|expected .* to|make levels|is for task|needs? |not finite"
PLAN = "model: net.onnx\ndata: {source: pictures}\n"
MISTAKES = [
    ("configuration", "model: net.onnx", "missing field 'data'"),
    ("configuration", f"{PLAN}deadline: 55 ms", "unknown field 'deadline'"),
    ("configuration", f"{PLAN}need: {{deadline: 55}}", 'did you mean "55 ms"'),
    ("configuration", f"{PLAN}need: {{deadline: 55 kB}}", "expected a time"),
    ("configuration", f"{PLAN}need: {{deadline: -5 ms}}", "at least 0"),
    ("configuration", f"{PLAN}need: {{max_drop: 2}}", "at most 1"),
    ("configuration", f"{PLAN}need: {{max_payload: 20000}}", 'did you mean "20000 B"'),
    ("configuration", f"{PLAN}shared_by: {{devices: 50, frame_rate: 5}}", 'did you mean "5 /s"'),
    ("configuration", f"{PLAN}measured_device: [47]", 'did you mean "47 ms"'),
    ("configuration", f"{PLAN}prefer: speed", "expected one of"),
    ("configuration", f"{PLAN}task: clasify", "did you mean 'classify'"),
    ("configuration", f"{PLAN}search: {{max_tensors: 5}}", "<= 4"),
    ("configuration", f"{PLAN}search: {{seed: 0.5}}", "Expected `int`"),
    ("configuration", f"{PLAN}input: {{size: 0}}", "1 to 16384 pixels"),
    ("configuration", f"{PLAN}input: {{size: 224, std: [1, 0, 1]}}", "above 0"),
    ("configuration", f"{PLAN}input: {{size: [224, 224, 3]}}", "length 2"),
    ("configuration", f"{PLAN}prune: {{ratios: [0, 1]}}", "< 1"),
    (
        "link",
        "{kind: fixed, name: a, description: b, downlink_bit_s: 1e6, rtt_s: 20 ms}",
        "missing field 'uplink_bit_s'",
    ),
    ("link", "{kind: 5g, name: a, description: b}", "unknown kind '5g'"),
    ("link", "{name: a, description: b}", "missing field 'kind'"),
    ("device", "{name: a, description: b, runtime: {name: c}}", "missing field"),
]


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_a_schema_of_what_is_read(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    assert msgspec.json.decode(file_schema_text(name)) == SCHEMAS[name]


@pytest.mark.parametrize("name", FILES)
def test_every_field_says_what_it_means(name: str) -> None:
    fields = list(properties(SCHEMAS[name]))
    assert len(fields) > 40
    assert [field for field, said in fields if len(said.get("description", "")) < 5] == []


def properties(schema: Any) -> Iterator[tuple[str, Any]]:
    """ "Struct.field" and its schema, of every struct of a file."""
    for struct, part in schema["$defs"].items():
        if struct != "Source":
            yield from ((f"{struct}.{field}", said) for field, said in part["properties"].items())


@pytest.mark.parametrize("name", FILES)
def test_every_shipped_file_is_valid(name: str) -> None:
    assert len(TEXTS[name]) > 5
    for text in TEXTS[name]:
        VALIDATORS[name].validate(yaml12.load(text, name))


@pytest.mark.parametrize("name", FILES)
def test_what_the_program_writes_is_valid(name: str) -> None:
    """`calibrate` and plan directories write every field, null where it is not known."""
    for text in TEXTS[name][:8]:
        value: Any = decode_tree(yaml12.load(text, name), FILES[name], where=name)
        VALIDATORS[name].validate(yaml12.load(dump_yaml(value), name))


@pytest.mark.parametrize(("name", "text", "message"), MISTAKES)
def test_a_mistake_is_not_valid(name: str, text: str, message: str) -> None:
    tree = yaml12.load(text, name)
    with pytest.raises(ProfileError, match=re.escape(message)):
        decode_tree(tree, FILES[name], where=name)
    assert not VALIDATORS[name].is_valid(tree)


@pytest.mark.parametrize("name", FILES)
def test_defaults_are_valid_and_what_is_left_out(name: str) -> None:
    """A file that says a default is read as one that leaves the field out."""
    for text in TEXTS[name][:8]:
        tree: Any = yaml12.load(text, name)
        read: Any = decode_tree(tree, FILES[name], where=name)
        left_out = SCHEMAS[name]["$defs"][type(read).__name__]["properties"]
        defaults = {field: said["default"] for field, said in left_out.items() if "default" in said}
        VALIDATORS[name].validate(defaults | tree)
        assert decode_tree(defaults | tree, FILES[name], where=name) == read


@pytest.mark.parametrize("name", FILES)
def test_the_reader_and_the_schema_agree_on_changed_files(name: str) -> None:
    both = 0
    for index in range(CHANGED):
        rng = generator(f"schema of {name}", index)
        try:
            tree = yaml12.load(changed_yaml(rng.choice(TEXTS[name]), rng), name)
        except ProfileError:
            continue  # no YAML, so that no schema is asked
        valid, reason = VALIDATORS[name].is_valid(tree), refusal(tree, name)
        assert valid or reason is not None, f"{index}: the reader takes it"
        assert not valid or reason is None or re.search(BEYOND, reason), f"{index}: valid, but {reason}"
        both += valid
    assert both > CHANGED / 50


def refusal(tree: object, name: str) -> str | None:
    """Why the reader refuses it; None where it takes it."""
    try:
        decode_tree(tree, FILES[name], where=name)
    except ProfileError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", FILES)
def test_every_struct_has_a_place_of_its_own(name: str) -> None:
    """Places are named after classes: two of one name, or one named as a value with its source, would be one."""
    structs: list[type[msgspec.Struct]] = []
    waiting = list(list_structs(msgspec.inspect.type_info(FILES[name])))
    while waiting:
        struct = waiting.pop()
        if struct not in structs:
            structs.append(struct)
            waiting += [inner for field in list_fields(struct) for inner in list_structs(field.shape)]
    names = sorted(["Source", *(struct.__name__ for struct in structs)])
    assert names == sorted(SCHEMAS[name]["$defs"])
