"""Files changed at random, by bytes and by structure, the same for the same number on every machine."""

from __future__ import annotations

import atexit
import functools
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from splitpoint.profiles.errors import CONTROLS, ProfileError
from splitpoint.profiles.files import yaml12
from splitpoint.tests.fuzz.target import Target

__all__ = ["EXAMPLES", "attack", "changed_bytes", "changed_yaml", "generator", "outcome", "scratch"]

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
HANG_S = 60.0  # of one case: no measurement, only the difference between slow and never
ODD_TEXTS = (
    *("", "~", "null", "true", ".inf", "-.inf", ".nan", "nan", "inf", "-1", "0", "1e308", "1e-308", "1e999", "0x10"),
    *("1e308 Mbit/s", "1e-999999999 B", "0 ms", "-3 dB", "200 dB", "5 kW", "1__0 s", "99.9 %", "1.5 B", "2e9 s"),
    *("100000", "2147483648", "4611686018427387905", "9" * 400, "1" * 5000, "x" * 70_000, "mbit", "host", "file.py:f"),
    *('"\\e[31m"', '"\\u202e"', '"\\uD800"', '"\\0"', '"\\UFFFFFFFF"', "&a", "*a", "!!python/object:os.system x"),
    *(
        "[" * 100,
        "{a: " * 100,
        "- " * 100,
        "? ",
        "%TAG ! x",
        "---",
        "...",
        "|",
        ">",
        "'",
        "../../etc/passwd",
        "/dev/zero",
    ),
)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 1e308, -1e308, 1e-308, 5e-324, 10**18, 2**62, 2**64, 10**400, 100_000, 0.5),
    *("", "0", "x", "1e308 Gbit/s", "1e-15 s", "\x1b[31m", "\u202e", "\0", "9" * 400, "host", "a.py:f", "nan"),
    *([], {}, [[]], [None], {"value": 1}, {"value": None, "source": "x"}, {"kind": "trace"}, [1] * 1000),
)


def generator(name: str, index: int) -> random.Random:
    """The random choices of a case."""
    return random.Random(f"{name} {index}")


def outcome(read: Callable[[], object]) -> str:
    """ "accepted" or "refused"; whatever is no `ProfileError` is raised, and so is one that a terminal would obey."""
    try:
        read()
    except ProfileError as error:
        message = str(error)
    else:
        return "accepted"
    assert not CONTROLS.search(message), message
    assert len(message) < 20_000
    message.encode()
    return "refused"


def attack(target: Target, count: int = EXAMPLES) -> dict[str, int]:
    """Run so many cases; gives how many had which outcome."""
    counts = {"accepted": 0, "refused": 0}
    for index in range(count):
        begun = time.perf_counter()
        counts[target.run(index)] += 1
        assert time.perf_counter() - begun < HANG_S, f"case {index} of {target.name}"
    return counts


@functools.cache
def scratch() -> Path:
    """A folder for the files of this process, removed at its end."""
    folder = tempfile.mkdtemp(prefix="fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def changed_bytes(data: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """`data` with one to four changes: bits, pieces that are cut, doubled or taken from `others`, odd texts."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(changed))
        end = min(len(changed), at + int(rng.paretovariate(0.7)))
        kind = rng.randrange(7)
        if kind == 0 and changed:
            changed[min(at, len(changed) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at:end] = rng.randbytes(rng.randint(0, 8))
        elif kind == 2:
            del changed[at:end]
        elif kind == 3:
            changed[at:at] = bytes(changed[at:end]) * rng.choice((1, 2, 100))
        elif kind == 4 and others:
            other = rng.choice(others)
            start = rng.randint(0, len(other))
            changed[at:end] = other[start : start + rng.randint(0, 200)]
        else:
            changed[at:end] = rng.choice(ODD_TEXTS).encode()
    return bytes(changed[: 2**20])


def changed_yaml(text: str, rng: random.Random) -> str:
    """`text`, which is YAML, with one to three changes of its tree."""
    tree = yaml12.load(text, "before the change")
    for _ in range(rng.randint(1, 3)):
        tree = _changed_tree(tree, rng)
    return yaml12.dump(tree)


def _changed_tree(tree: Any, rng: random.Random) -> Any:
    """`tree` with one value, at a random depth, that is odd, gone, doubled, nested deeply, or has another name."""
    if isinstance(tree, dict | list) and tree and rng.random() < 0.85:
        key: Any = rng.choice(list(tree)) if isinstance(tree, dict) else rng.randrange(len(tree))
        copied: Any = dict(tree) if isinstance(tree, dict) else list(tree)
        kind = rng.randrange(8)
        if kind == 0:
            del copied[key]
        elif kind == 1 and isinstance(copied, dict):
            copied[rng.choice((f"{key}_", "value", "kind", "\x1b[2J", "k" * 2000))] = copied.pop(key)
        elif kind == 1:
            copied *= 50 if len(copied) < 5 and rng.random() < 0.3 else 2
        else:
            copied[key] = _changed_tree(copied[key], rng)
        return copied
    if rng.random() < 0.1:
        for _ in range(rng.choice((1, 3, 62, 70))):
            tree = [tree] if rng.random() < 0.5 else {"a": tree}
        return tree
    return rng.choice(ODD_VALUES)
