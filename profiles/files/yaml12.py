"""YAML 1.2 text to plain trees and back: 20e6 is a float, "on" and dates are text, keys are unique."""

from __future__ import annotations

import functools
import re
from typing import Any

import yaml

from splitpoint.profiles.errors import CONTROLS, ProfileError, shorten

__all__ = ["dump", "load"]


def __dir__() -> list[str]:
    return __all__


MOST_CHARACTERS = 2 * 2**20  # of a text: PyYAML reads 1 to 5 million a second
MOST_NODES = 100_000  # scalars and collections, 2 s to read: the profile of a network of 10,000 operators has 50,000
MOST_ALIASES = 1000
DEEPEST = 64  # collections inside each other
LONGEST_SCALAR = 2**16  # characters
LONGEST_KEY = 1024  # characters: YAML's own bound for keys without a question mark


def load(text: str, where: str, *, most_nodes: int | None = None) -> object:
    """The text as dicts, lists and scalars; raises ProfileError that names `where` and the line or the field.

    Length, depth, nodes (scalars and collections, `most_nodes`) and aliases are bounded, so any text is read or refused
    within seconds. No string in the tree, a key or a value, has a control character other than line feed and tab.
    """
    if len(text) > MOST_CHARACTERS:
        raise ProfileError(f"{where}: expected at most {MOST_CHARACTERS:,} characters of YAML, got {len(text):,}")
    try:
        loader: Any = functools.partial(_Loader, most_nodes=most_nodes or MOST_NODES)
        tree = yaml.load(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        raise ProfileError(f"{where}{line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # "\UFFFFFFFF" in quotes is no character
        raise ProfileError(f"{where}: {error}") from error
    _refuse_controls(tree, "$", where)
    return tree


def dump(tree: object) -> str:
    """A plain tree as YAML text, keys in their order, one line an entry, floats by repr."""
    text: str = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def _refuse_controls(tree: object, at: str, where: str) -> None:
    """Raise ProfileError for text that a terminal would obey, with its path."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            _refuse_controls(key, at, where)
            _refuse_controls(value, f"{at}.{key}", where)
    elif isinstance(tree, list):
        for i, value in enumerate(tree):
            _refuse_controls(value, f"{at}[{i}]", where)
    elif isinstance(tree, str) and CONTROLS.search(tree):
        raise ProfileError(
            f"{where}: expected text without control characters, got {shorten(repr(tree))} - at `{at}`",
            fix="remove them; line feed and tab are allowed",
        )


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars (20e6 is a float, "on" and dates are text), duplicate keys refused, scalar aliases only."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own class attribute, replaced so that ours do not leak

    def __init__(self, stream: str, most_nodes: int) -> None:
        super().__init__(stream)
        self.most_nodes = most_nodes
        self.depth = self.nodes = self.aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse tags, too much of anything, and aliases to collections: a few lines of those unfold to gigabytes."""
        event = self.peek_event()  # type: ignore[no-untyped-call]  # types-PyYAML has no signature for it
        alias = isinstance(event, yaml.AliasEvent)
        self.nodes += 1
        self.aliases += alias
        problem = self._problem(event)
        if problem is not None:
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if alias and not isinstance(node, yaml.ScalarNode):
            raise yaml.composer.ComposerError(None, None, "an alias may stand for a scalar only", event.start_mark)
        return node

    def _problem(self, event: yaml.Event) -> str | None:
        """Why a node is refused."""
        if getattr(event, "tag", None) not in (None, "!"):
            return f"the tag {getattr(event, 'tag', None)} is not allowed"
        if self.depth >= DEEPEST:
            return f"nested too deeply, expected at most {DEEPEST} levels"
        if self.nodes > self.most_nodes:
            return f"expected at most {self.most_nodes:,} values in the file, got more"
        if self.aliases > MOST_ALIASES:
            return f"expected at most {MOST_ALIASES:,} aliases in the file, got more"
        length = len(getattr(event, "value", ""))
        if length > LONGEST_SCALAR:
            return f"expected a value of at most {LONGEST_SCALAR:,} characters, got {length:,}"
        return None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a repeated key, of which PyYAML would silently keep the last."""
        seen: dict[object, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                raise yaml.constructor.ConstructorError(None, None, "expected text as a key", key_node.start_mark)
            key, line = key_node.value, key_node.start_mark.line + 1
            if len(key) > LONGEST_KEY:
                problem = f"expected a key of at most {LONGEST_KEY:,} characters, got {len(key):,}"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in seen:
                problem = f"key {key!r} appears twice, first in line {seen[key]}"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen[key] = line
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Quotes exactly the text that `_Loader` would read as something else."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - as in _Loader

    def ignore_aliases(self, data: object) -> bool:
        """Equal values are written out each time."""
        return True


# The core schema of YAML 1.2.2, section 10.3.2.
for _tag, _pattern, _first in (
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+.")),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    """Decimal always: PyYAML reads 010 as eight. Digits without end are a float, so that they fail as not finite."""
    return int(node.value) if len(node.value) <= _MAX_INT_DIGITS else float(node.value)


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    """Python reads every YAML 1.2 float but the dot in front of inf and nan."""
    return float(re.sub(r"\.(?=[a-zA-Z])", "", node.value))


_MAX_INT_DIGITS = 4000  # below Python's own limit of 4300 for text to int

_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)
