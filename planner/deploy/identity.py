"""What ties a payload to its plan: a hash of everything that changes the answer."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from splitpoint.planner.deploy.file_names import RUNNING
from splitpoint.planner.deploy.schema import PlanFile

__all__ = ["IDENTITY_BYTES", "plan_identity"]


def __dir__() -> list[str]:
    return __all__


IDENTITY_BYTES = 8


def plan_identity(file: PlanFile) -> bytes:
    """The first bytes of SHA-256 over the files that run, the `input:` block, the cut, the codec and the tensors.

    Fields that have their default value are left out, so that a later version that adds a field gives an older plan the
    same identity. The rate is not part of it: the payload says it.
    """
    parts = {
        "files": {name: file.files[name] for name in RUNNING if name in file.files},
        "placement": file.placement,
        "input": _plain(file.input),
        "cut": None if file.cut is None else [_plain(tensor) for tensor in file.cut.tensors],
        "codec": [file.codec.name, file.codec.id, file.codec.boundary],
        "inputs": [_plain(tensor) for tensor in file.model.inputs],
        "outputs": [_plain(tensor) for tensor in file.model.outputs],
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()[:IDENTITY_BYTES]


def _plain(value: msgspec.Struct) -> dict[str, Any]:
    """Fields that differ from their defaults; whole numbers as integers, since YAML does not keep 1.0 and 1 apart."""
    fields = {field.encode_name: (getattr(value, field.name), field.default) for field in msgspec.structs.fields(value)}
    return {name: _number(found) for name, (found, default) in fields.items() if found != default}


def _number(value: object) -> object:
    if isinstance(value, tuple):
        return [_number(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
