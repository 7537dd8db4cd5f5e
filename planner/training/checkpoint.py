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

__all__ = [
    "CheckpointError",
    "from_bytes",
    "read_checkpoint",
    "read_step",
    "remove_checkpoint",
    "to_bytes",
    "write_checkpoint",
]


def __dir__() -> list[str]:
    return __all__


FORMAT = 1


class CheckpointError(ProfileError):
    """A folder that a training writes to takes no file: nothing is wrong with what is trained."""


def to_bytes(state: dict[str, Any]) -> bytes:
    """Numbers, texts, tensors, and lists and dicts of them, as torch writes them."""
    import torch

    content = io.BytesIO()
    torch.save(state, content)
    return content.getvalue()


def from_bytes(data: bytes) -> dict[str, Any]:
    """What `to_bytes` wrote; runs no code of the file's. Raises `ValueError` for anything else."""
    import torch

    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:  # pickle's: no plain value or tensor
        raise ValueError(f"no state of a training: {error}") from error
    if not isinstance(state, dict):
        raise ValueError(f"no state of a training: expected a dict, got {type(state).__name__}")
    return state


def write_checkpoint(path: Path, key: str, state: dict[str, Any]) -> None:
    """Put `state` (numbers, texts, tensors, and lists and dicts of them) in place of what was at `path`.

    `key` says which training it belongs to. A process that is killed meanwhile leaves the earlier file. Raises
    `CheckpointError` where the folder takes no file.
    """
    content = to_bytes({"format": FORMAT, "key": key, "state": state})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    except (OSError, ProfileError) as error:  # `write_bytes` raises the latter
        raise CheckpointError(
            f"the checkpoint of a training cannot be written: {error}",
            at=str(path),
            fix="make room or choose another folder; the same command goes on from the last checkpoint",
        ) from error


def read_checkpoint(path: Path, key: str) -> dict[str, Any] | None:
    """The state that `write_checkpoint` wrote under `key`; None where there is none, or one of another training.

    A damaged file is none, too: the training begins again.
    """
    try:
        stored = from_bytes(path.read_bytes())
    except (OSError, ValueError):
        return None
    if (stored.get("format"), stored.get("key")) != (FORMAT, key):
        return None
    state = stored.get("state")
    return state if isinstance(state, dict) else None


def read_step(path: Path) -> int:
    """The steps that the training of a checkpoint had taken; 0 where there is none, or a damaged one."""
    try:
        step = from_bytes(path.read_bytes())["state"]["progress"]["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return int(step) if isinstance(step, int) else 0


def remove_checkpoint(path: Path) -> None:
    """Remove the file, if there is one."""
    with contextlib.suppress(OSError):
        path.unlink()
