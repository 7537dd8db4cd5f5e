"""Run a plan directory: ``payload = plan.head(x)`` on the device, ``y = plan.tail(payload)`` on the server.

Works with the base install. Each side reads only its own files: the device plan.yaml, head.onnx and codec.npz;
the server plan.yaml, tail.onnx and codec.npz. The hash of every file is compared with plan.yaml before use.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from splitpoint.codecs.container import Frame
from splitpoint.codecs.contract.protocol import Array, CodecError, Coder
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.store import load_coders
from splitpoint.planner.deploy.expose import expose
from splitpoint.planner.deploy.names import codec_prefix
from splitpoint.planner.deploy.schema import IOTensor, PlanFile, check_format
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import parse_yaml_mapping, read_yaml
from splitpoint.profiles.network.inputs import preprocess
from splitpoint.profiles.network.runtime import Session, open_session

__all__ = ["CODEC", "HEAD", "PLAN", "REPORT", "TAIL", "WHOLE", "Plan", "boundary_names", "plan_hash", "sha256_file"]


def __dir__() -> list[str]:
    return __all__


PLAN, HEAD, TAIL, CODEC = "plan.yaml", "head.onnx", "tail.onnx", "codec.npz"
WHOLE, REPORT = "whole.onnx", "report-inputs.npz"


class Plan:
    """A plan directory, opened; sessions and tables are loaded on first use and kept."""

    def __init__(self, directory: Path, file: PlanFile, *, threads: int | None = None) -> None:
        """Use `Plan.load`."""
        self.directory = directory
        self.file = file
        self.threads = threads

    @classmethod
    def load(cls, directory: str | Path, *, threads: int | None = None) -> Plan:
        """Read `directory`/plan.yaml; raises `ProfileError` when it is missing, damaged or of another version.

        `threads` is the number of threads for ONNX Runtime (default: its own choice).
        """
        folder = Path(directory)
        path = folder / PLAN
        if not path.is_file():
            raise ProfileError(f"no {PLAN} in {folder}", at=str(path), fix="splitpoint plan MODEL --out DIR writes one")
        check_format(str(parse_yaml_mapping(path).get("format", "missing")), at=str(path))
        return cls(folder, read_yaml(path, PlanFile), threads=threads)

    def head(self, x: Array | Mapping[str, Array], *, check: bool = False) -> bytes:
        """The device's half: one input to the payload to send.

        `x` is the network's input (its shape in plan.yaml, batch 1) or, for an image model, the resized uint8 picture
        (H, W, C); for a network of several inputs arrays by the names in plan.yaml. A plan without a tail gives the
        packed outputs, which need not be sent. With `check` the tensors at the boundary are tested for NaN and
        infinity, which integer quantizers would hide. Raises `CodecError`.
        """
        file = self.file
        if file.codec.boundary == "picture":
            picture = x if not isinstance(x, Mapping) else next(iter(x.values()))
            parts = [PICTURES[file.codec.name].encode(self._picture(picture), file.codec.rate)]
        else:
            tensors = self.boundary(x, check=check)
            parts = [
                coder.encode({spec.name: tensors[names[spec.name]].reshape(spec.shape) for spec in coder.specs})
                for coder, names in zip(self._coders, self._names(tensors), strict=True)
            ]
        return self._frame.pack(parts)

    def boundary(self, x: Array | Mapping[str, Array], *, check: bool = False) -> dict[str, Array]:
        """What leaves head.onnx for the entropy coder, by name: symbols, side information or the tensors themselves."""
        feeds = self._feeds(x)
        if check:
            self._check_finite(feeds)
        return self._head.run(feeds) if self._head is not None else feeds

    def symbols(self, payload: bytes) -> dict[str, Array]:
        """What the entropy decoder gives: the tensors that `tail` feeds to tail.onnx; raises `PayloadError`."""
        file = self.file
        parts = self._frame.unpack(payload)
        if file.codec.boundary == "picture":
            size = file.input.height_width
            picture = PICTURES[file.codec.name].decode(parts[0], size)
            return {file.model.inputs[0].name: preprocess(picture, file.input)}
        decoded = [coder.decode(part) for coder, part in zip(self._coders, parts, strict=True)]
        if file.placement == "device":
            return {file.model.outputs[i].name: tensors["x"] for i, tensors in enumerate(decoded)}
        names = self._names(self._tail_inputs)
        tensors = {name: decoded[i][spec] for i, row in enumerate(names) for spec, name in row.items()}
        shapes = {tensor.name: tensor.shape for tensor in file.cut.tensors} if file.cut is not None else {}
        return {name: values.reshape(shapes.get(name, values.shape)) for name, values in tensors.items()}

    def tail(self, payload: bytes) -> Array | dict[str, Array]:
        """The server's half: the payload to the network's output (a dict by name where it has several).

        Raises `PayloadError` when the bytes are damaged or belong to another plan.
        """
        tensors = self.symbols(payload)
        outputs = tensors if self.file.placement == "device" else self._tail.run(tensors)
        named = {tensor.name: outputs[tensor.name] for tensor in self.file.model.outputs}
        return next(iter(named.values())) if len(named) == 1 else named

    def path(self, name: str) -> Path:
        """The path of a file of the plan, after checking its hash; raises `ProfileError` that names the file."""
        path = self.directory / name
        expected = self.file.files.get(name)
        if expected is None:
            raise ProfileError(f"this plan has no {name}", at=str(self.directory / PLAN))
        if not path.is_file():
            raise ProfileError(f"{name} is missing", at=str(path), fix="copy it from the plan directory")
        if (got := sha256_file(path)) != expected:
            raise ProfileError(
                f"{name} is not the file this plan was written with",
                at=f"{path}: expected SHA-256 {expected[:12]}…, got {got[:12]}…",
                fix="copy it again from the plan directory, or plan again",
            )
        return path

    @functools.cached_property
    def _frame(self) -> Frame:
        codec = self.file.codec
        count = 1 if codec.boundary == "picture" else len(self._coders)
        return Frame(codec_id=codec.id, rate=codec.rate, plan_hash=plan_hash(self.file.files), count=count)

    @functools.cached_property
    def _head(self) -> Session | None:
        return open_session(self.path(HEAD), level="all", threads=self.threads) if HEAD in self.file.files else None

    @functools.cached_property
    def _tail(self) -> Session:
        return open_session(self.path(TAIL), level="all", threads=self.threads)

    @functools.cached_property
    def _tail_inputs(self) -> Mapping[str, object]:
        return {spec.name: spec for spec in self._tail.inputs}

    @functools.cached_property
    def _coders(self) -> list[Coder]:
        return load_coders(self.path(CODEC))

    @functools.cached_property
    def _check_session(self) -> Session | None:
        if self.file.cut is None or HEAD not in self.file.files:
            return None
        model = expose(self.path(HEAD).read_bytes(), [tensor.name for tensor in self.file.cut.tensors])
        return open_session(model, level="all", threads=self.threads)

    def _check_finite(self, feeds: Mapping[str, Array]) -> None:
        for name, x in feeds.items():
            _refuse_non_finite(name, x, "the network's input")
        if self._check_session is not None and self.file.cut is not None:
            tensors = self._check_session.run(feeds)
            for tensor in self.file.cut.tensors:
                _refuse_non_finite(tensor.name, tensors[tensor.name], "the boundary")

    def _names(self, present: Mapping[str, object]) -> list[dict[str, str]]:
        if self.file.placement == "device":
            return [{"x": tensor.name} for tensor in self.file.model.outputs]
        if self.file.cut is None:
            raise ProfileError("a split plan needs a cut", at=str(self.directory / PLAN))
        return [
            boundary_names(index, tensor.name, coder, present)
            for index, (tensor, coder) in enumerate(zip(self.file.cut.tensors, self._coders, strict=True))
        ]

    def _feeds(self, x: Array | Mapping[str, Array]) -> dict[str, Array]:
        """The network's inputs by name; raises `CodecError` for what they are not."""
        wanted = self.file.model.inputs
        if not isinstance(x, Mapping):
            if len(wanted) > 1:
                names = ", ".join(tensor.name for tensor in wanted)
                raise CodecError(
                    f"the network has {len(wanted)} inputs: expected arrays by name ({names}), got one array"
                )
            return {wanted[0].name: self._network_input(x, wanted[0])}
        if set(x) != {tensor.name for tensor in wanted}:
            raise CodecError(f"expected the inputs {sorted(tensor.name for tensor in wanted)}, got {sorted(x)}")
        return {tensor.name: self._network_input(x[tensor.name], tensor) for tensor in wanted}

    def _network_input(self, x: Array, wanted: IOTensor) -> Array:
        if x.shape == wanted.shape and x.dtype == np.dtype(wanted.dtype):
            return x
        if self.file.input.kind == "image" and x.ndim == 3 and x.dtype == np.uint8:
            return preprocess(x, self.file.input)
        raise CodecError(
            f"expected the input {wanted.name!r} as {wanted.dtype}{list(wanted.shape)}, got {x.dtype}{list(x.shape)}"
        )

    def _picture(self, x: Array) -> Array:
        wanted = (*self.file.input.height_width, self.file.input.channels)
        if x.shape != wanted or x.dtype != np.uint8:
            raise CodecError(
                f"this plan sends the picture: expected uint8{list(wanted)}, got {x.dtype}{list(x.shape)}\n"
                "  fix   splitpoint.profiles.network.inputs.read_picture(path, plan.file.input)"
            )
        return x


def boundary_names(index: int, tensor: str, coder: Coder, present: Mapping[str, object]) -> dict[str, str]:
    """Coder tensor -> graph tensor for crossing tensor number `index`: joined graphs prefix theirs, raw cuts do not."""
    joined = {spec.name: f"{codec_prefix(index)}{spec.name}" for spec in coder.specs}
    return {spec: name if name in present else tensor for spec, name in joined.items()}


def plan_hash(files: Mapping[str, str]) -> bytes:
    """8 bytes that tie a payload to its plan: SHA-256 over the hashes of head.onnx, tail.onnx and codec.npz."""
    present = "".join(f"{name}:{files[name]};" for name in (HEAD, TAIL, CODEC) if name in files)
    return hashlib.sha256(present.encode()).digest()[:8]


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_non_finite(name: str, x: Array, where: str) -> None:
    if np.issubdtype(x.dtype, np.floating) and not np.isfinite(x).all():
        bad = "NaN" if np.isnan(x).any() else "infinity"
        raise CodecError(f"{bad} in {name!r} ({where}): a quantizer would hide it")
