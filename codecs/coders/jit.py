"""The one door to numba: typed, compiled on first use, cached on disk.

Importing a module with kernels does not import numba (0.4 s); the first call of a kernel does. Every kernel is called
with one set of argument types, so it is compiled once a machine and read from the cache by later processes. numba puts
its cache beside the source, or in the user's cache folder where that is read-only (NUMBA_CACHE_DIR overrides both).
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

__all__ = ["Kernel"]


def __dir__() -> list[str]:
    return __all__


P = ParamSpec("P")
R = TypeVar("R")


class Kernel(Generic[P, R]):
    """Decorator: a function of numpy arrays and integers as machine code; kernels of one file may call each other."""

    def __init__(self, function: Callable[P, R]) -> None:
        self.function = function
        self._compiled: Callable[P, R] | None = None
        self.__doc__ = function.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run, compiled on the first call."""
        return self.compiled()(*args, **kwargs)

    def compiled(self) -> Callable[P, R]:
        """The numba dispatcher."""
        if self._compiled is None:
            import numba

            # numba resolves globals when it compiles and knows its own dispatchers only: give it those of our kernels.
            python = self._linked(Kernel.compiled)
            try:
                self._compiled = numba.njit(cache=True, nogil=True)(python)
            except RuntimeError as error:
                if "no locator available" not in str(error):
                    raise
                self._compiled = numba.njit(nogil=True)(python)  # no writable folder at all: compile in each process
        assert self._compiled is not None
        return self._compiled

    def interpreted(self) -> Callable[P, R]:
        """Return the Python function, which calls other kernels as Python functions too; slow, but it can be traced."""
        python: Callable[P, R] = self._linked(Kernel.interpreted)
        return python

    def _linked(self, how: Callable[[Kernel[..., Any]], Callable[..., Any]]) -> Any:
        """Return a copy of the function whose globals hold `how(kernel)` in place of each kernel that it calls."""
        python: Any = self.function
        namespace = {
            name: how(value) if isinstance(value, Kernel) else value
            for name, value in python.__globals__.items()
            if name in python.__code__.co_names or name.startswith("__")
        }
        linked = types.FunctionType(python.__code__, namespace, python.__name__, python.__defaults__)
        linked.__module__ = self.function.__module__
        linked.__qualname__ = self.function.__qualname__
        return linked
