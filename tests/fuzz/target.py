"""What a fuzz campaign attacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Target:
    """One thing that is attacked: a name, and a function from a case's number to what became of it."""

    name: str
    run: Callable[[int], str]
