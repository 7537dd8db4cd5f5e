"""Tensors of a network on the training inputs, computed once by ONNX Runtime and kept as fp16 in a file.

What is trained at a cut reads them again and again; only the part of the network that needs gradients runs each step.
A file is written under another name and renamed, and has the SHA-256 of what follows it first, so it is whole or not
used. It is mapped into memory, not read into it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.protocol import FitError
from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.deploy.expose import expose
from splitpoint.planner.training.checkpoint import CheckpointError
from splitpoint.planner.training.data import LEAST_INPUTS, TrainingSet
from splitpoint.planner.values.keys import code_sha256, content_key
from splitpoint.profiles import units
from splitpoint.profiles.files.held import hold, remove_if_dead
from splitpoint.profiles.machine.machine import onnxruntime_version
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session

if TYPE_CHECKING:
    import torch

__all__ = ["FOLDER", "Activations", "Place", "activations"]


def __dir__() -> list[str]:
    return __all__


FOLDER: Final = "activations"  # beside the folders of the store
DTYPE: Final = np.dtype("<f2")
CHUNK: Final = 64  # inputs that are computed before they are written
HASH_BYTES: Final = 32
SUFFIX: Final = ".f16"
CODE: Final = ("splitpoint.planner.coding", "splitpoint.profiles.network")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where activations are kept, and how much of them."""

    folder: Path | None  # None: a file without a name, which ends with the process
    limit_bytes: int  # of all files together


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Activations:
    """Tensors of M inputs."""

    rows: NDArray[np.intp]  # (M,) rows of the training set
    shapes: Mapping[str, tuple[int, ...]]  # of each tensor, without the batch
    values: NDArray[np.float16]  # (M, elements of all tensors), mapped

    def __len__(self) -> int:
        return len(self.rows)

    def tensor(self, name: str, places: NDArray[np.intp]) -> torch.Tensor:
        """(B, ...) float32: the tensor `name` of the inputs number `places`, each below M."""
        import torch

        begin = 0
        for other, shape in self.shapes.items():
            if other == name:
                break
            begin += _elements(shape)
        shape = self.shapes[name]
        values = self.values[places, begin : begin + _elements(shape)]
        return torch.from_numpy(values.astype(np.float32).reshape(-1, *shape))


def activations(
    graph: ModelGraph,
    names: Sequence[str],
    data: TrainingSet,
    data_sha256: str,
    place: Place,
    *,
    threads: int,
    report: Callable[[str], None] = lambda text: None,
) -> Activations:
    """The tensors `names` of the unsplit network on the inputs of `data` as they are, not moved or mirrored.

    Where `place.limit_bytes` holds fewer, evenly spaced inputs are taken. Raises `FitError` where it holds fewer than
    64 of more, and for values that are not finite or that fp16 cannot hold; `CheckpointError` where the folder takes
    no file.
    """
    shapes = _shapes(graph, names)
    elements = sum(map(_elements, shapes.values()))
    count = min(len(data), (place.limit_bytes - HASH_BYTES) // (elements * DTYPE.itemsize))
    if count < min(LEAST_INPUTS, len(data)):
        raise FitError(
            f"{place.limit_bytes:,} bytes hold the activations of {max(count, 0)} training inputs, at least "
            f"{LEAST_INPUTS} are needed; set $.train.activations to "
            f"{LEAST_INPUTS * elements * DTYPE.itemsize + HASH_BYTES} B or more"
        )
    rows = np.arange(count) * len(data) // count
    key = content_key(
        FOLDER,
        model=graph.sha256,
        names=tuple(names),
        data=data_sha256,
        count=count,
        code=[code_sha256(package) for package in CODE],
        runtime=onnxruntime_version(),
    )
    size = HASH_BYTES + count * elements * DTYPE.itemsize

    def write(file: IO[bytes]) -> None:
        digest = hashlib.sha256()
        file.write(bytes(HASH_BYTES))
        for i, chunk in enumerate(_computed(graph, list(shapes), data, rows, threads)):
            digest.update(chunk)
            file.write(chunk)
            report(f"activations {min(CHUNK * (i + 1), count):,} of {count:,}")
        file.seek(0)
        file.write(digest.digest())
        file.flush()

    try:
        values = _mapped(place, key, size, write)
    except OSError as error:
        raise CheckpointError(
            f"{units.format_bytes(size)} of activations cannot be written: {error.strerror or error}",
            at=str(place.folder or tempfile.gettempdir()),
            fix="make room, choose another folder (SPLITPOINT_CACHE), or set $.train.activations lower",
        ) from error
    return Activations(rows=rows, shapes=shapes, values=values.reshape(count, elements))


def _mapped(place: Place, key: str, size: int, write: Callable[[IO[bytes]], None]) -> NDArray[Any]:
    """The numbers of the file of `key`, which is written unless it is there and whole."""
    if place.folder is None:
        with tempfile.TemporaryFile() as file:
            write(file)
            return np.memmap(file, DTYPE, "r", offset=HASH_BYTES)
    path = place.folder / f"{key}{SUFFIX}"
    values = _whole(path, size)
    if values is None:
        place.folder.mkdir(parents=True, exist_ok=True)
        _make_room(place, size)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            with temporary.open("xb") as file:
                hold(file.fileno())
                write(file)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)  # already moved, unless something (Ctrl-C too) went wrong
        values = np.memmap(path, DTYPE, "r", offset=HASH_BYTES)
    with contextlib.suppress(OSError):
        os.utime(path)
    return values


def _whole(path: Path, size: int) -> NDArray[Any] | None:
    """The file's numbers; None where it is not there, or damaged."""
    try:
        if path.stat().st_size != size:
            return None
        values = np.memmap(path, DTYPE, "r", offset=HASH_BYTES)
        with path.open("rb") as file:
            said = file.read(HASH_BYTES)
    except OSError:
        return None
    return values if hashlib.sha256(values.data).digest() == said else None


def _make_room(place: Place, size: int) -> None:
    """Remove what was not used for longest until `size` more bytes are within the limit; and what killed runs left."""
    assert place.folder is not None
    for left in place.folder.glob(".*.tmp"):
        remove_if_dead(left)
    found = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in place.folder.glob(f"*{SUFFIX}"))
    total = size + sum(each for _, each, _ in found)
    for _, each, path in found:
        if total <= place.limit_bytes:
            break
        path.unlink(missing_ok=True)  # who has it mapped keeps it
        total -= each


def _computed(
    graph: ModelGraph, names: Sequence[str], data: TrainingSet, rows: NDArray[np.intp], threads: int
) -> Iterator[bytes]:
    """The tensors of all `rows`, a chunk at a time, each input's one after another; raises `FitError`."""
    session = open_session(expose(whole_bytes(graph), names), level="all", threads=1)

    def one(x: NDArray[Any]) -> NDArray[Any]:
        given = graph.feeds(x[None])
        found = {**given, **session.run(given)}
        return np.concatenate([np.ravel(found[name]) for name in names])

    with concurrent.futures.ThreadPoolExecutor(threads) as pool, np.errstate(over="ignore"):
        for begin in range(0, len(rows), CHUNK):
            values = np.stack(list(pool.map(one, data.inputs(rows[begin : begin + CHUNK]).numpy())))
            small = values.astype(DTYPE)
            if not np.isfinite(small).all():
                raise FitError(
                    f"on a training input the tensors {', '.join(names)} reach {np.abs(values).max():g}: not finite, "
                    f"or more than fp16 holds ({np.finfo(DTYPE).max:g})"
                )
            yield small.tobytes()


def _shapes(graph: ModelGraph, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Shapes without the batch, which is 1."""
    return {name: tuple(graph.tensors[name].shape[1:]) for name in dict.fromkeys(names)}


def _elements(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
