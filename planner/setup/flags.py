"""What flags say, as values: quantities with units, shapes, constants, a task with its options."""

from __future__ import annotations

import json
import math
import re
import typing
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from splitpoint.planner.deploy.task import TASKS, Task
from splitpoint.planner.limits.limits import LIMITS
from splitpoint.profiles import units
from splitpoint.profiles.network.inputs import LARGEST_TENSOR

if TYPE_CHECKING:
    from splitpoint.planner.setup.inputs import PictureFlags
    from splitpoint.profiles.network.runtime import Provider

__all__ = [
    "FlagError",
    "parse_bound",
    "parse_constants",
    "parse_numbers",
    "parse_pairs",
    "parse_pictures",
    "parse_provider",
    "parse_quantities",
    "parse_quantity",
    "parse_range",
    "parse_shapes",
    "parse_task",
]


def __dir__() -> list[str]:
    return __all__


class FlagError(ValueError):
    """A flag whose value cannot be used; `flag` is its name."""

    def __init__(self, message: str, *, flag: str) -> None:
        """`message` says what was expected and what was given."""
        super().__init__(message)
        self.flag = flag


def parse_quantity(text: str | None, unit: Any, flag: str) -> float | None:
    """The number in `text`, of the kind and in the range of `unit`, one of the annotated types of `profiles.units`."""
    if text is None:
        return None
    meta = typing.get_args(unit)[1]
    bounds = {name: getattr(meta, name) for name in ("gt", "ge", "lt", "le")}
    try:
        return units.parse(text, str(meta.extra["kind"]), **bounds)
    except units.UnitError as error:
        hint = f" Did you mean {error.suggestion!r}?" if error.suggestion else ""
        raise FlagError(f"{error}.{hint}", flag=flag) from error


def parse_range(text: str | None, unit: Any, flag: str) -> tuple[float, float] | None:
    """The two numbers of "0.05..100 Mbit/s", the lower first, or one number twice.

    The lower number may be without a unit: then it has the upper's.
    """
    if text is None:
        return None
    lower, between, upper = text.partition("..")
    if not between:
        value = _given(parse_quantity(text, unit, flag))
        return value, value
    high = _given(parse_quantity(upper, unit, flag))
    number = re.match(r"\s*[-+.\deE_]+", upper)
    bare = re.fullmatch(r"\s*[-+.\d_]+(?:[eE][-+]?\d+)?\s*", lower) is not None
    unit_text = "" if number is None or not bare else upper[number.end() :]
    low = _given(parse_quantity(lower + unit_text, unit, flag))
    if not low < high:
        raise FlagError(f"expected a range from a lower to a higher value, got {text!r}", flag=flag)
    return low, high


def parse_quantities(text: str | None, unit: Any, flag: str, *, steps: int) -> tuple[float, ...] | None:
    """The numbers of "1 Mbit/s,2 Mbit/s", or of a range, `steps` in equal ratios."""
    if text is None:
        return None
    if ".." not in text:
        return tuple(_given(parse_quantity(part, unit, flag)) for part in text.split(","))
    low, high = parse_range(text, unit, flag) or (0.0, 0.0)
    return tuple(low * (high / low) ** (i / (steps - 1)) for i in range(steps))


def _given(value: float | None) -> float:
    assert value is not None  # only no text has no value
    return value


def parse_bound(text: str | None, field: str) -> float | None:
    """The bound of the limit whose field this is."""
    limit = next(limit for limit in LIMITS.values() if limit.field == field)
    value = parse_quantity(text, limit.unit, f"--{field.replace('_', '-')}")
    return None if value is None else round(value) if limit.whole else value


def parse_task(given: str | Task | None, name: str | None, options: Mapping[str, Any]) -> Task | str | None:
    """The configuration's task with the flags that were given; another task has its own options."""
    options = {option: value for option, value in options.items() if value is not None}
    if name is not None and name not in TASKS:
        raise FlagError(f"{name!r} is none of {', '.join(TASKS)}", flag="--task")
    if name is None and not options:
        return given
    before = {} if given is None else {"name": given} if isinstance(given, str) else msgspec.structs.asdict(given)
    if name is not None and before.get("name") != name:
        before = {"name": name}
    if "name" not in before:
        raise FlagError(f"say for which task: --task {', '.join(TASKS)}", flag=f"--{min(options)}")
    return Task(**(before | options))


def parse_shapes(texts: Sequence[str] | None) -> tuple[int, ...] | dict[str, tuple[int, ...]] | None:
    """The shape of the one input, or of each by name."""
    named: dict[str, tuple[int, ...]] = {}
    for text in texts or ():
        name, equals, shape = text.rpartition("=")
        if not re.fullmatch(r"[1-9]\d{0,8}(x[1-9]\d{0,8}){0,15}", shape) or (equals and not name) or name in named:
            expected = "expected a shape such as 1x3x224x224, or NAME=1x512 once for each input"
            raise FlagError(f"{expected}, got {text!r}", flag="--size")
        named[name] = tuple(int(part) for part in shape.split("x"))
        if math.prod(named[name]) > LARGEST_TENSOR:
            raise FlagError(f"expected at most {LARGEST_TENSOR:,} elements, got {shape}", flag="--size")
    if "" in named and len(named) > 1:
        raise FlagError("a shape without a name is of the only input: name every shape", flag="--size")
    return named.get("", named) or None


def parse_constants(texts: Sequence[str] | None) -> dict[str, Any]:
    """Values by input: numbers, truth values, or lists of them, as JSON writes them."""
    constants: dict[str, Any] = {}
    for text in texts or ():
        name, _, value = text.partition("=")
        try:
            constants[name] = json.loads(value)
        except (ValueError, RecursionError):
            expected = "expected NAME=VALUE such as sr=16000 or scale=[1,2]"
            raise FlagError(f"{expected}, got {text!r}", flag="--constant") from None
    return constants


def parse_pairs(texts: Sequence[str] | None, flag: str) -> dict[str, str]:
    """Options as NAME=VALUE, by name; raises `FlagError`."""
    pairs: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise FlagError(f"expected NAME=VALUE such as device_type=CPU, got {text!r}", flag=flag)
        pairs[name] = value
    return pairs


def parse_provider(name: str | None, options: Sequence[str] | None, *, cpu_fallback: bool) -> Provider:
    """The execution provider by its flags; the CPU where none is given. Raises `FlagError` and `ProfileError`."""
    from splitpoint.profiles.network.runtime import CPU, find_provider  # with ONNX Runtime

    if name is not None:
        return find_provider(name, parse_pairs(options, "--provider-option"), cpu_fallback=cpu_fallback)
    if options or cpu_fallback:
        raise FlagError("its options need the provider: --provider openvino", flag="--provider")
    return CPU


def parse_pictures(preset: Any, *, mean: str | None, std: str | None, scale: float | None, color: Any) -> PictureFlags:
    """What flags say of pictures, in place of an `input:` block."""
    from splitpoint.planner.setup.inputs import PictureFlags  # with all that reads models

    return PictureFlags(
        preset=preset,
        mean=parse_numbers(mean, "--mean"),
        std=parse_numbers(std, "--std"),
        scale=scale,
        color=color,
    )


def parse_numbers(text: str | None, flag: str) -> tuple[float, ...] | None:
    """Numbers with commas between."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise FlagError(f"expected numbers such as 0.485,0.456,0.406, got {text!r}", flag=flag) from None
