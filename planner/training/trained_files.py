"""Trained codecs as files that go from one machine to another: weights in npz files, and a manifest that names them.

What plans keep for themselves lies under keys that contain their code and libraries. These files are found by the
network's content, the tensor that crosses and the codec; what a codec was set up with before its training (statistics
of calibration inputs, the channel's SNR) is compared with what it would be set up with here. torch is imported inside
functions.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from splitpoint.codecs.contract.protocol import Array, CodecError
from splitpoint.codecs.npz import npz_bytes, read_npz
from splitpoint.planner.training.spent import Spent
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.regular import read_bytes
from splitpoint.profiles.files.structs import read_yaml, write_bytes, write_yaml

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MANIFEST", "TrainedCodec", "TrainedFiles", "check_new_folder", "read_trained", "state_of", "write_trained"]


def __dir__() -> list[str]:
    return __all__


FORMAT: Final = 1
MANIFEST: Final = "trained.yaml"
MOST_BYTES: Final = 256 << 20  # of a file
FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\.npz")
WEIGHTS, SETTINGS = "weights/", "settings/"  # of the names in a file
SAMPLED: Final = 64  # values of a setting are compared, evenly spaced: a convolution's start is as large as its weights
# Of a setting's largest magnitude: statistics of the same inputs on another processor differ in the last bits alone,
# those of other inputs by more than a part in a thousand.
TOLERANCE: Final = 1e-3
HALF_ERROR: Final = 2.0**-11  # of the largest magnitude: what fp16 rounds away unless all values are tiny or too large


class TrainedCodec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of the manifest: one trained codec, where it belongs, and how it was trained."""

    file: str
    sha256: str  # of the file
    codec: str
    rates: tuple[str, ...]
    layer: str  # for people; the tensor decides
    tensor: str
    model_sha256: str  # of the canonical network
    snr_db: tuple[
        float, ...
    ] = ()  # of codecs that send channel symbols: what they were trained for, lowest and highest
    spent: Spent
    seed: int
    trained_on: str = ""  # SHA-256 of the training inputs
    how: str = ""  # in words, where it was not `splitpoint train` that made them

    @property
    def name(self) -> str:
        """The file and the start of its hash."""
        return f"{self.file} (SHA-256 {self.sha256[:16]})"


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a folder of trained codecs holds."""

    format: int
    codecs: tuple[TrainedCodec, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TrainedFiles:
    """A folder of trained codecs; `contents` are the bytes that were compared with the manifest's hashes."""

    folder: str
    codecs: tuple[TrainedCodec, ...]
    contents: tuple[bytes, ...]

    def load(self, module: nn.Module, *, codec: str, model_sha256: str, tensor: str) -> TrainedCodec | str:
        """Put the weights of `codec` for that place into `module`, or say why there are none for it.

        Raises `ProfileError` where the file's weights are not those of such a codec.
        """
        import torch

        place = [row for row in self.codecs if row.codec == codec and row.model_sha256 == model_sha256]
        rows = [row for row in place if row.tensor == tensor]
        if not rows:
            others = sorted({f"after {row.layer}" for row in place})
            here = f"{codec} only {', '.join(others)}" if others else f"no {codec} for this network"
            return f"{self.folder} has {here}"
        own = {name: value.detach().cpu().numpy() for name, value in module.state_dict().items()}
        reasons = []
        for row in rows:
            at = str(Path(self.folder, row.file))
            weights, settings = _arrays(self.contents[self.codecs.index(row)], own, at)
            if (why := _difference(settings, own)) is None:
                module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, strict=False)
                return row
            reasons.append(f"{at} was trained for another setting: {why}")
        return "; ".join(reasons)

    def sha256(self) -> str:
        """SHA-256 of everything that decides what is loaded."""
        return hashlib.sha256(msgspec.json.encode(self.codecs)).hexdigest()


def state_of(module: nn.Module) -> dict[str, Array]:
    """A copy of the module's parameters and buffers."""
    return {name: value.detach().cpu().numpy().copy() for name, value in module.state_dict().items()}


def write_trained(
    folder: Path,
    rows: Sequence[tuple[TrainedCodec, Mapping[str, Array], Mapping[str, Array]]],
) -> tuple[TrainedCodec, ...]:
    """Write a file for each row and the manifest, last; gives its rows, with the hashes.

    Each row has the module's state before and after its training: what did not change is a setting. Weights of two
    axes and more are rounded to fp16 where that keeps their precision. Raises `ProfileError` as `check_new_folder`, and
    where the folder takes no file.
    """
    check_new_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ProfileError(f"trained codecs cannot be written: {error}", at=str(folder)) from error
    written = []
    for row, before, after in rows:
        fixed = [name for name in after if np.array_equal(before[name], after[name])]
        arrays = {f"{SETTINGS}{name}": _sampled(before[name]) for name in fixed}
        arrays |= {f"{WEIGHTS}{name}": _rounded(after[name]) for name in after if name not in fixed}
        content = npz_bytes(arrays)
        write_bytes(folder / row.file, content)
        written.append(msgspec.structs.replace(row, sha256=hashlib.sha256(content).hexdigest()))
    write_yaml(folder / MANIFEST, Manifest(format=FORMAT, codecs=tuple(written)))
    return tuple(written)


def check_new_folder(folder: Path) -> None:
    """Raise `ProfileError` where there is something at `folder` already: nothing is replaced."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProfileError(
            "trained codecs are written to a new folder, and there is something already",
            at=str(folder),
            fix="another folder, or remove this one",
        )


def read_trained(folder: Path) -> TrainedFiles:
    """The trained codecs of a folder, every file compared with its hash; raises `ProfileError`."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ProfileError(
            f"no trained codecs: there is no {MANIFEST}",
            at=str(folder),
            fix="splitpoint train CONFIG --save DIR writes such a folder",
        )
    found = read_yaml(path, Manifest)
    if found.format != FORMAT:
        raise ProfileError(f"this is format {found.format}, expected {FORMAT}", at=str(path))
    contents = []
    for i, row in enumerate(found.codecs):
        if FILE_NAME.fullmatch(row.file) is None:
            raise ProfileError(f"no file name of this folder: {row.file!r}", at=f"{path}: $.codecs[{i}].file")
        content = read_bytes(folder / row.file, limit=MOST_BYTES)
        if (got := hashlib.sha256(content).hexdigest()) != row.sha256:
            raise ProfileError(
                f"this is another file than the manifest names: SHA-256 {got[:16]}..., expected {row.sha256[:16]}...",
                at=str(folder / row.file),
                fix="copy the whole folder again",
            )
        contents.append(content)
    return TrainedFiles(folder=str(folder), codecs=found.codecs, contents=tuple(contents))


def _arrays(content: bytes, own: Mapping[str, Array], at: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Weights as `own` has them, and settings; raises `ProfileError` where the file has others."""
    most = sum(array.size * 4 + 1024 for array in own.values()) * 2
    try:
        arrays = read_npz(content, limit_bytes=most)
    except CodecError as error:
        raise ProfileError(f"no weights: {error}", at=at, fix="copy the whole folder again") from error
    weights = {name.removeprefix(WEIGHTS): array for name, array in arrays.items() if name.startswith(WEIGHTS)}
    settings = {name.removeprefix(SETTINGS): array for name, array in arrays.items() if name.startswith(SETTINGS)}
    names = [*weights, *settings]
    if sorted(names) != sorted(own) or len(names) != len(arrays):
        differing = sorted(set(names) ^ set(own))
        raise ProfileError(f"these are weights of another codec: {', '.join(differing[:3])}", at=at)
    weights |= {name: array.reshape(()) for name, array in weights.items() if own[name].ndim == 0 and array.size == 1}
    for name, array in weights.items():
        wanted = own[name]
        if array.shape != wanted.shape or array.dtype.kind != wanted.dtype.kind:
            got, expected = (f"{each.dtype.name}{list(each.shape)}" for each in (array, wanted))
            raise ProfileError(f"weights {name!r} are {got}, expected {expected}", at=at)
        if not np.isfinite(array).all():
            raise ProfileError(f"weights {name!r} are not finite", at=at)
    return {name: array.astype(own[name].dtype) for name, array in weights.items()}, settings


def _difference(settings: Mapping[str, Array], own: Mapping[str, Array]) -> str | None:
    """In which setting the file differs from `own`, with its first differing value; None: in none."""
    for name, stored in settings.items():
        here = _sampled(own[name])
        if stored.shape != here.shape:
            return f"{name} has {stored.size} values, here {here.size}"
        far = np.abs(stored - here) > TOLERANCE * max(np.abs(here).max(initial=0), np.abs(stored).max(initial=0))
        if far.any():
            place = int(far.argmax())
            return f"{name} is {stored[place]:g}, here {here[place]:g}"
    return None


def _sampled(array: Array) -> Array:
    """Up to `SAMPLED` values of a setting, evenly spaced."""
    flat = array.reshape(-1).astype(np.float32)
    return flat[np.linspace(0, flat.size - 1, min(SAMPLED, flat.size)).astype(np.intp)]


def _rounded(array: Array) -> Array:
    if array.dtype != np.float32 or array.ndim < 2:
        return array
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    error = np.abs(half.astype(np.float32) - array).max(initial=0)
    return half if error <= HALF_ERROR * np.abs(array).max(initial=0) else array
