"""onnx-ir without SymPy: the one place that imports it first, so that SymPy is loaded only if something asks for it.

onnx-ir needs SymPy for arithmetic on symbolic dimensions ("batch + 1"), which a canonical model, whose shapes are
fixed, does not have. Importing SymPy takes 0.3 s and 25 MB, most of the start of every command.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Final

__all__ = ["ir", "passes"]


def __dir__() -> list[str]:
    return __all__


# onnx_ir._symbolic_shapes reads names of sympy when it runs, so both have to wait.
_LATE: Final = frozenset({"sympy", "onnx_ir._symbolic_shapes"})


class _Late(importlib.abc.MetaPathFinder):
    """Finds the modules of `_LATE` as the other finders do, to be run at the first look at one of their names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _LATE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = importlib.util.LazyLoader(spec.loader)
        return spec


@contextmanager
def _late() -> Iterator[None]:
    finder = _Late()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


with _late():
    import onnx_ir as ir
    from onnx_ir.passes import common as passes
