"""How a command ends: its exit code, and one true sentence on standard error where it does not end well."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path

from splitpoint.codecs.contract.protocol import CodecError
from splitpoint.planner.output.escape import error_text
from splitpoint.planner.output.logs import log_to_stderr
from splitpoint.planner.output.signals import stop_on_signals
from splitpoint.planner.output.streams import OutputError, guard_streams
from splitpoint.planner.setup.flags import FlagError
from splitpoint.profiles.errors import ProfileError

__all__ = ["BAD_INPUT", "INTERRUPTED", "OK", "UNMET", "USAGE", "note_kept", "note_written", "print_note", "run_to_end"]


def __dir__() -> list[str]:
    return __all__


OK, UNMET, USAGE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 3, 130
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_written: ContextVar[tuple[str, ...]] = ContextVar("written", default=())  # by this command: what, and where


def run_to_end(command: Callable[[], None]) -> int:
    """Run `command` with guarded standard streams and SIGTERM and SIGHUP as Ctrl-C; gives its exit code.

    The code is that of its `SystemExit`, or that of its error, which is then on standard error. Bugs are raised.
    """
    _written.set(())
    with guard_streams(), stop_on_signals(), log_to_stderr():
        try:
            return _exit_code(command)
        except KeyboardInterrupt:
            return _say(f"interrupted: {'; '.join(_written.get()) or 'nothing was written'}", INTERRUPTED)
        except FlagError as error:
            return _say(f"error: {error.flag}: {error}", USAGE)
        except (ProfileError, CodecError) as error:
            return _say(f"error: {error}", BAD_INPUT)
        except OutputError as error:
            return _say(f"error: {'; '.join((str(error), *_written.get()))}", BAD_INPUT)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            text = f"error: {error.strerror}: {error.filename or ''}\n  fix   make room, or set TMPDIR"
            return _say(text, BAD_INPUT)


def note_written(what: str, path: Path) -> None:
    """Keep what the command wrote ("plan") and where, for its sentence when something goes wrong after that."""
    note_kept(f"the {what} was written to {path}")


def note_kept(text: str) -> None:
    """Keep what is not lost, for the command's sentence when something goes wrong after that."""
    _written.set((*_written.get(), text))


def print_note(text: str | None) -> None:
    """Write a line beside the command's answer to standard error; nothing for None."""
    if text is not None:
        _say(text, OK)


def _exit_code(command: Callable[[], None]) -> int:
    try:
        command()
        code = OK
    except SystemExit as end:  # usage errors are 2, Ctrl-C is 130
        code = end.code if isinstance(end.code, int) else OK
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    sys.stdout.flush()
    return code


def _say(text: str, code: int) -> int:
    """Write `text` to standard error; gives `code`."""
    sys.stderr.write(f"{error_text(text)}\n")
    return code
