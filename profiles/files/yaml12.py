"""YAML 1.2 text to plain trees and back: 20e6 is a float, "on" and dates are text, keys are unique."""

from __future__ import annotations

import re
from typing import Any

import yaml

from splitpoint.profiles.errors import ProfileError

__all__ = ["dump", "load"]


def __dir__() -> list[str]:
    return __all__


def load(text: str, where: str) -> object:
    """The text as dicts, lists and scalars; raises ProfileError that names `where` and the line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        raise ProfileError(f"{where}{line}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ProfileError(f"{where}: {error}") from error
    except RecursionError as error:
        raise ProfileError(f"{where}: nested too deeply") from error


def dump(tree: object) -> str:
    """A plain tree as YAML text, keys in their order, one line an entry, floats by repr."""
    text: str = yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars (20e6 is a float, "on" and dates are text), duplicate keys refused, scalar aliases only."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own class attribute, replaced so that ours do not leak

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse tags, and aliases to collections: a few lines of those can unfold to gigabytes."""
        alias = self.check_event(yaml.AliasEvent)
        event = self.peek_event()  # type: ignore[no-untyped-call]  # types-PyYAML has no signature for it
        if getattr(event, "tag", None) not in (None, "!"):
            raise yaml.composer.ComposerError(None, None, f"the tag {event.tag} is not allowed", event.start_mark)
        node = super().compose_node(parent, index)
        if alias and not isinstance(node, yaml.ScalarNode):
            raise yaml.composer.ComposerError(None, None, "an alias may stand for a scalar only", event.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a repeated key, of which PyYAML would silently keep the last."""
        seen: dict[object, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                raise yaml.constructor.ConstructorError(None, None, "expected text as a key", key_node.start_mark)
            key, line = key_node.value, key_node.start_mark.line + 1
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
