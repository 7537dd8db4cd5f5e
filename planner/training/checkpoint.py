"""The state of a training as a file: whole or absent, for one training only, read without running code.

torch is imported inside functions.
"""

from __future__ import annotations

import contextlib
import io
import pickle
from pathlib import Path
from typing import Any

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import write_bytes

__all__ = ["read_checkpoint", "remove_checkpoint", "write_checkpoint"]


def __dir__() -> list[str]:
    return __all__


FORMAT = 1


def write_checkpoint(path: Path, key: str, state: dict[str, Any]) -> None:
    """Put `state` (numbers, texts, tensors, and lists and dicts of them) in place of what was at `path`.

    `key` says which training it belongs to. A process that is killed meanwhile leaves the earlier file. Raises
    `ProfileError` where the folder takes no file.
    """
    import torch

    content = io.BytesIO()
    torch.save({"format": FORMAT, "key": key, "state": state}, content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content.getvalue())
    except OSError as error:
        raise ProfileError(
            f"the checkpoint of a training cannot be written: {error.strerror or error}",
            at=str(path),
            fix="make room or choose another folder; the same command goes on from the last checkpoint",
        ) from error


def read_checkpoint(path: Path, key: str) -> dict[str, Any] | None:
    """The state that `write_checkpoint` wrote under `key`; None where there is none, or one of another training.

    A damaged file is none, too: the training begins again.
    """
    import torch

    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)  # tensors and plain values, no code
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError):
        return None
    if not isinstance(stored, dict) or (stored.get("format"), stored.get("key")) != (FORMAT, key):
        return None
    state = stored.get("state")
    return state if isinstance(state, dict) else None


def remove_checkpoint(path: Path) -> None:
    """Remove the file, if there is one."""
    with contextlib.suppress(OSError):
        path.unlink()
