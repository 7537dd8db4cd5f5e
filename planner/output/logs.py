"""The log of a command, under the name "splitpoint", on standard error; nothing of it stays when the command ends."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from contextvars import ContextVar

from splitpoint.planner.output.escape import printable_line

__all__ = ["LOGGER", "is_quiet", "log_to_stderr", "set_quiet", "set_verbose"]


def __dir__() -> list[str]:
    return __all__


LOGGER = "splitpoint"
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)  # this command shows no progress


def is_quiet() -> bool:
    """Whether this command shows no progress."""
    return _quiet.get()


def set_quiet(quiet: bool) -> None:
    """Let this command show no progress, or some."""
    _quiet.set(quiet)


def set_verbose(verbose: int) -> None:
    """Let this command log what it does, or with 2 in detail too; 0 leaves the level as it is."""
    if verbose:
        logging.getLogger(LOGGER).setLevel(logging.DEBUG if verbose > 1 else logging.INFO)


class _Handler(logging.Handler):
    """Lines on standard error as it is when they are written: between progress bars it is theirs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record in one line."""
        sys.stderr.write(f"{record.levelname.lower()}: {printable_line(record.getMessage())}\n")


@contextlib.contextmanager
def log_to_stderr() -> Iterator[None]:
    """Write what is logged under `LOGGER` to standard error within the block; its level is put back afterwards."""
    logger, handler = logging.getLogger(LOGGER), _Handler()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    set_quiet(False)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
