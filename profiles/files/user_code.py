"""Functions of the user's by name: "path/file.py:function" or "package.module:function", imported and called.

What their code raises leaves here as one `ProfileError` with its file, its line and its cause.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from splitpoint.profiles.errors import ProfileError

__all__ = ["call_user_code", "import_named", "strip_escapes", "user_error"]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")

OURS = Path(__file__).resolve().parents[2]  # the package
LIBRARIES = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("purelib", "platlib", "stdlib"))
ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[@-_])")  # ECMA-48: colours and cursor movements
LONGEST_CAUSE = 300  # characters of an exception's first lines that a message repeats


def import_named(reference: str, *, base: Path | None = None) -> Any:
    """What `reference` names, its file relative to `base`; raises `ProfileError` when it cannot be imported."""
    place, _, name = reference.rpartition(":")
    if not place or not name.isidentifier():
        raise ProfileError("expected file.py:function or package.module:function", at=reference)
    module = _import(place, base=base, at=reference)
    found = getattr(module, name, None)
    if found is None:
        public = ", ".join(sorted(key for key in vars(module) if not key.startswith("_"))[:8])
        raise ProfileError(f"{place!r} has no {name!r}", at=reference, fix=f"it has: {public}")
    return found


def call_user_code(function: Callable[[], T], *, at: str, doing: str = "calling it") -> T:
    """`function()`, which runs code of the user's; whatever it raises is a `ProfileError` with the line and the cause.

    `at` is the reference by which the user named the code; `doing` says what failed ("calling it").
    """
    try:
        return function()
    except ProfileError:
        raise
    except (Exception, SystemExit) as error:
        raise user_error(error, at=at, doing=doing) from error


def user_error(error: BaseException, *, at: str, doing: str) -> ProfileError:
    """The `ProfileError` of an exception in code of the user's: its type and text, and the last line of theirs."""
    place = _place(error)
    fix = "correct that line" if place is not None else "check its arguments and what it calls"
    return ProfileError(f"{at}: {doing} failed: {_cause_text(error)}", at=place or at, fix=fix)


def strip_escapes(text: str) -> str:
    """`text` without terminal escape codes."""
    return ESCAPES.sub("", text)


def _cause_text(error: BaseException) -> str:
    first = strip_escapes(str(error)).strip().split("\n\n")[0]  # torch adds pages of advice
    text = " ".join(first.split())
    short = text if len(text) <= LONGEST_CAUSE else text[:LONGEST_CAUSE] + " ..."
    return f"{type(error).__name__}: {short}" if short else type(error).__name__


def _place(error: BaseException) -> str | None:
    """ "net.py, line 12, in forward": the innermost frame that is neither ours nor a library's."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    if not frames:
        return None
    frame = frames[-1]
    where = "" if frame.name == "<module>" else f", in {frame.name}"
    return f"{frame.filename}, line {frame.lineno}{where}"


def _is_users(filename: str) -> bool:
    if filename.startswith("<"):  # "<frozen importlib._bootstrap>", "<string>"
        return False
    path = Path(filename).resolve()
    rooms = ("cli.py", "codecs", "planner", "profiles")
    ours = path.is_relative_to(OURS) and path.relative_to(OURS).parts[0] in rooms
    return not ours and not any(path.is_relative_to(folder) for folder in LIBRARIES)


def _import(place: str, *, base: Path | None, at: str) -> ModuleType:
    fix = "give package.module:function or path/file.py:function"
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            raise ProfileError(f"cannot import {place!r}: {error}", at=at, fix=fix) from error
        except (Exception, SystemExit) as error:
            raise user_error(error, at=at, doing="importing it") from error
    file = ((base or Path()) / place).resolve()
    if not file.is_file():
        raise ProfileError(f"no such file: {str(file)!r}", at=at, fix=fix)
    name = f"splitpoint_user_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None  # the file is there and ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and torch.export look their module up here
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise user_error(error, at=at, doing="importing it") from error
    return module
