"""Functions of the user's by name: "path/file.py:function" or "package.module:function"."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from splitpoint.profiles.errors import ProfileError

__all__ = ["import_named"]


def __dir__() -> list[str]:
    return __all__


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


def _import(place: str, *, base: Path | None, at: str) -> ModuleType:
    fix = "give package.module:function or path/file.py:function"
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ImportError as error:
            raise ProfileError(f"cannot import {place!r}: {error}", at=at, fix=fix) from error
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
    except (ImportError, SyntaxError) as error:
        raise ProfileError(f"cannot import {place!r}: {error}", at=at, fix=fix) from error
    return module
