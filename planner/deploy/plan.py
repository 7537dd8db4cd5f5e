"""Run a plan directory: ``payload = plan.head(x)`` on the device, ``y = plan.tail(payload)`` on the server.

Works with the base install. Each side reads only its own files: the device plan.yaml, head.onnx and codec.npz;
the server plan.yaml, tail.onnx and codec.npz. What runs are the bytes that were compared with the hash in plan.yaml.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from splitpoint.codecs.container import Frame
from splitpoint.codecs.contract.channel import simulated
from splitpoint.codecs.contract.protocol import Array, CodecError, Coder, MultiRateCoder, PayloadError, TensorSpec
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.store import load_coders
from splitpoint.planner.deploy.expose import expose
from splitpoint.planner.deploy.file_names import CODEC, HEAD, TAIL
from splitpoint.planner.deploy.identity import plan_identity
from splitpoint.planner.deploy.names import codec_prefix
from splitpoint.planner.deploy.once import Once
from splitpoint.planner.deploy.schema import IOTensor, PlanFile
from splitpoint.planner.deploy.stored import StoredPlan, open_plan
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine.machine import MOST_THREADS
from splitpoint.profiles.network.external import refuse_external_data
from splitpoint.profiles.network.inputs import preprocess, read_picture
from splitpoint.profiles.network.runtime import CPU, Provider, Session, find_provider, open_session

__all__ = ["PayloadTooLargeError", "Plan", "boundary_names"]


def __dir__() -> list[str]:
    return __all__


class PayloadTooLargeError(CodecError):
    """An input whose payload has more bytes than were allowed, at the coarsest rate that the plan has."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"this input takes {size:,} bytes, at most {limit:,} are allowed; nothing was sent")
        self.size_bytes = size
        self.limit_bytes = limit


class Plan:
    """A plan directory, opened; sessions and tables are loaded on first use and kept. Safe to use from threads.

    The folder may be replaced while the plan is in use: what was opened stays what it was.
    """

    def __init__(self, stored: StoredPlan, *, threads: int | None = None, provider: Provider = CPU) -> None:
        """Use `Plan.load`."""
        self.stored = stored
        self.file: PlanFile = stored.file
        self.threads = threads
        self.provider = provider
        self._once = Once()

    @classmethod
    def load(
        cls,
        directory: str | Path,
        *,
        threads: int | None = None,
        expect: str | None = None,
        provider: str | None = None,
        provider_options: Mapping[str, str] | None = None,
        cpu_fallback: bool = False,
    ) -> Plan:
        """Open the plan in `directory`; raises `ProfileError` when it is missing, damaged or of another version.

        `threads` is the number of threads for ONNX Runtime (default: its own choice). With `expect` the plan must have
        this SHA-256 (`Plan.sha256`, as whoever made it published it): hashes inside a folder show only change.
        `provider` runs head and tail ("openvino", "cuda": what the installed ONNX Runtime offers; default: the CPU),
        with its options; where it cannot run all of them that is refused, unless the CPU may take over.
        """
        if not isinstance(directory, str | os.PathLike):
            raise ProfileError(f"expected the path of a plan directory, got {type(directory).__name__}")
        if threads is not None and not (isinstance(threads, int) and 1 <= threads <= MOST_THREADS):
            raise ProfileError(f"expected 1 to {MOST_THREADS} threads, got {threads!r}")
        runs = CPU if provider is None else find_provider(provider, provider_options, cpu_fallback=cpu_fallback)
        if provider is None and (provider_options or cpu_fallback):
            raise ProfileError("options and a fallback are of a provider, and none is given", fix="provider='openvino'")
        return cls(open_plan(Path(directory), expect=expect), threads=threads, provider=runs)

    @property
    def directory(self) -> Path:
        """The folder that was opened; another may have its path now."""
        return self.stored.folder.path

    @property
    def sha256(self) -> str:
        """SHA-256 of plan.yaml, which has the hashes of all other files."""
        return self.stored.sha256

    def head(
        self,
        x: Array | Mapping[str, Array] | str | os.PathLike[str],
        *,
        check: bool = False,
        max_bytes: int | None = None,
        rate: int | None = None,
    ) -> bytes:
        """The device's half: one input to the payload to send.

        `x` is the network's input (its shape in plan.yaml, batch 1) or, for an image model, a picture's file or the
        resized uint8 picture (H, W, C); for a network of several inputs arrays by the names in plan.yaml. A plan
        without a tail gives the packed outputs, which need not be sent. With `check` the tensors at the boundary are
        tested for NaN and infinity, which integer quantizers would hide. `rate` is one of `rates` (default: the plan's
        own). A payload above `max_bytes` is coded again at the coarser of them; where none fits,
        `PayloadTooLargeError`. Raises `CodecError`, and `ProfileError` for a file that is no picture.
        """
        if max_bytes is not None and (not isinstance(max_bytes, int) or max_bytes < 1):
            raise CodecError(f"max_bytes is a number of bytes, at least 1, got {max_bytes!r}")
        if isinstance(x, str | os.PathLike):
            x = read_picture(Path(x), self.file.input)
        first = self.file.codec.rate if rate is None else rate
        if first not in self.rates:
            raise CodecError(f"rate {first!r} is none of this plan's: {', '.join(map(str, self.rates))}")
        if self.file.codec.boundary == "picture":
            code = functools.partial(self._code_picture, self._picture(x))
        else:
            code = functools.partial(self._code, self.boundary(x, check=check))
        size = 0
        for coarser in self.rates[self.rates.index(first) :]:
            payload = self._frame.pack(code(coarser), coarser)
            if max_bytes is None or len(payload) <= max_bytes:
                return payload
            size = len(payload)
        raise PayloadTooLargeError(size, max_bytes or 0)

    def received(self, payload: bytes, *, draw: int = 0) -> bytes:
        """What arrives of a payload: of channel symbols with the noise of a simulated channel, of bits the payload.

        The channel is that over which the plan was measured, its noise that of message number `draw` and the plan's
        seed. Raises `PayloadError`.
        """
        sent = self.file.predicted.symbols
        if sent is None:
            return payload
        rate, parts = self._frame.unpack(payload)
        seed, noisy = self.file.found_by.seed, []
        for coder, part in zip(self._coders, parts, strict=True):
            arrived = {
                name: simulated(sent.channel, symbols, seed=seed, draw=draw)
                for name, symbols in coder.decode(part).items()
            }
            noisy.append(coder.encode(arrived))
        return self._frame.pack(noisy, rate)

    @property
    def rates(self) -> tuple[int, ...]:
        """The rates at which a payload of this plan may be written, finest first: indices into its codec's.

        Picture codecs have the plan's own and the coarser ones, a dynamic switch all of its own, others a single one.
        """
        return self._frame.rates

    def boundary(self, x: Array | Mapping[str, Array], *, check: bool = False) -> dict[str, Array]:
        """What leaves head.onnx for the entropy coder, by name: symbols, side information or the tensors themselves."""
        feeds = self._feeds(x)
        if check:
            self._check_finite(feeds)
        return self._head.run(feeds) if self._head is not None else feeds

    def coded(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """The tensors of `boundary` as a payload of the plan's rate has them: without what finer rates alone code."""
        coded = dict(tensors)
        for coder, names in zip(self._coders, self._names(tensors, map(_encoded, self._coders)), strict=True):
            if isinstance(coder, MultiRateCoder):
                kept = coder.kept({spec: tensors[name] for spec, name in names.items()})
                coded |= {names[spec]: values for spec, values in kept.items()}
        return coded

    def symbols(self, payload: bytes) -> dict[str, Array]:
        """What the entropy decoder gives: the tensors that `tail` feeds to tail.onnx; raises `PayloadError`."""
        file = self.file
        rate, parts = self._frame.unpack(payload)
        if file.codec.boundary == "picture":
            size, channels = file.input.height_width, file.input.channels
            picture = PICTURES[file.codec.name].decode(parts[0], size, channels=channels)
            return {file.model.inputs[0].name: preprocess(picture, file.input)}
        decoded = [_decode(coder, part, rate) for coder, part in zip(self._coders, parts, strict=True)]
        if file.placement == "device":
            return {file.model.outputs[i].name: tensors["x"] for i, tensors in enumerate(decoded)}
        names = self._names(self._tail_inputs, [coder.specs for coder in self._coders])
        tensors = {name: decoded[i][spec] for i, row in enumerate(names) for spec, name in row.items()}
        shapes = {tensor.name: tensor.shape for tensor in file.cut.tensors} if file.cut is not None else {}
        return {name: self._shaped(values, shapes.get(name, values.shape), name) for name, values in tensors.items()}

    def tail(self, payload: bytes) -> Array | dict[str, Array]:
        """The server's half: the payload to the network's output (a dict by name where it has several).

        Raises `PayloadError` when the bytes are damaged or belong to another plan.
        """
        tensors = self.symbols(payload)
        outputs = tensors if self.file.placement == "device" else self._tail.run(tensors)
        absent = [tensor.name for tensor in self.file.model.outputs if tensor.name not in outputs]
        if absent:
            raise self._strangers(f"{TAIL} has no output {absent[0]!r}")
        named = {tensor.name: outputs[tensor.name] for tensor in self.file.model.outputs}
        return next(iter(named.values())) if len(named) == 1 else named

    def read(self, name: str) -> bytes:
        """A file of the plan by its path with slashes: its hash checked, a model without data outside its own bytes.

        Raises `ProfileError`.
        """
        data = self.stored.read(name)
        if name.endswith(".onnx"):
            refuse_external_data(data, at=self.stored.at(name))
        return data

    @property
    def _frame(self) -> Frame:
        return self._once.get("frame", self._make_frame)

    @property
    def _head(self) -> Session | None:
        return self._once.get("head", lambda: self._open(HEAD) if HEAD in self.file.files else None)

    @property
    def _tail(self) -> Session:
        return self._once.get("tail", lambda: self._open(TAIL))

    @property
    def _tail_inputs(self) -> Mapping[str, object]:
        return {spec.name: spec for spec in self._tail.inputs}

    @property
    def _coders(self) -> list[Coder]:
        return self._once.get("coders", self._load_coders)

    @property
    def _check_session(self) -> Session | None:
        return self._once.get("check", self._open_check)

    def _make_frame(self) -> Frame:
        codec = self.file.codec
        picture = codec.boundary == "picture"
        return Frame(
            codec_id=codec.id,
            rates=_descending(codec.rate) if picture else self._coded_rates(),
            plan_hash=plan_identity(self.file),
            count=1 if picture else len(self._coders),
        )

    def _coded_rates(self) -> tuple[int, ...]:
        """All rates of coders that have several; raises `ProfileError` where they disagree with plan.yaml."""
        own = self.file.codec.rate
        several = [coder for coder in self._coders if isinstance(coder, MultiRateCoder)]
        if any((coder.rate, coder.rates) != (own, several[0].rates) for coder in several):
            raise self._strangers(f"{CODEC} is not for rate {own}")
        return _descending(several[0].rates - 1) if several else (own,)

    def _open(self, name: str) -> Session:
        return open_session(
            self.read(name), level="all", threads=self.threads, name=self.stored.at(name), provider=self.provider
        )

    def _open_check(self) -> Session | None:
        if self.file.cut is None or HEAD not in self.file.files:
            return None
        model = expose(self.read(HEAD), [tensor.name for tensor in self.file.cut.tensors])
        return open_session(model, level="all", threads=self.threads, name=self.stored.at(HEAD), provider=self.provider)

    def _load_coders(self) -> list[Coder]:
        """The coders of codec.npz, one for each tensor that crosses or, without a tail, each output."""
        coders = load_coders(self.read(CODEC))
        file = self.file
        tensors = file.model.outputs if file.cut is None else file.cut.tensors
        if len(coders) != len(tensors):
            raise self._strangers(f"{CODEC} has {len(coders)} coders, the plan has {len(tensors)} tensors")
        if file.cut is None:
            specs = [[(spec.name, spec.shape, spec.dtype) for spec in coder.specs] for coder in coders]
            if specs != [[("x", tensor.shape, tensor.dtype)] for tensor in tensors]:
                raise self._strangers(f"{CODEC} is not for the network's outputs")
        return coders

    def _code_picture(self, picture: Array, rate: int) -> list[bytes]:
        codec, tables = PICTURES[self.file.codec.name], self.file.codec.tables
        return [(codec if tables is None else codec.with_tables(tables)).encode(picture, rate)]

    def _code(self, tensors: Mapping[str, Array], rate: int) -> list[bytes]:
        """The tensors at the boundary as one payload each, at `rate` where their coder has several."""
        coders = [coder.at(rate) if isinstance(coder, MultiRateCoder) else coder for coder in self._coders]
        return [
            coder.encode(
                {spec.name: self._shaped(tensors[names[spec.name]], spec.shape, spec.name) for spec in _encoded(coder)}
            )
            for coder, names in zip(coders, self._names(tensors, map(_encoded, coders)), strict=True)
        ]

    def _shaped(self, values: Array, shape: tuple[int, ...], name: str) -> Array:
        """The values in that shape; raises `ProfileError` where they do not fill it."""
        if values.size != math.prod(shape):
            raise self._strangers(f"tensor {name!r} is {list(values.shape)} here and {list(shape)} there")
        return values.reshape(shape)

    def _strangers(self, what: str) -> ProfileError:
        return ProfileError(
            f"the models, {CODEC} and plan.yaml do not belong together: {what}",
            at=str(self.directory),
            fix="copy the plan directory again, or plan again",
        )

    def _check_finite(self, feeds: Mapping[str, Array]) -> None:
        for name, x in feeds.items():
            _refuse_non_finite(name, x, "the network's input")
        if self._check_session is not None and self.file.cut is not None:
            tensors = self._check_session.run(feeds)
            for tensor in self.file.cut.tensors:
                _refuse_non_finite(tensor.name, tensors[tensor.name], "the boundary")

    def _names(self, present: Mapping[str, object], specs: Iterable[Sequence[TensorSpec]]) -> list[dict[str, str]]:
        """For each coder's tensors `specs`: theirs -> the graph's; raises `ProfileError` for a graph without it."""
        if self.file.cut is None:
            return [{"x": tensor.name} for tensor in self.file.model.outputs]
        rows = [
            boundary_names(index, tensor.name, own, present)
            for index, (tensor, own) in enumerate(zip(self.file.cut.tensors, specs, strict=True))
        ]
        absent = [name for row in rows for name in row.values() if name not in present]
        if absent:
            raise self._strangers(f"there is no tensor {absent[0]!r}")
        return rows

    def _feeds(self, x: Array | Mapping[str, Array]) -> dict[str, Array]:
        """The network's inputs by name; raises `CodecError` for what they are not."""
        wanted = self.file.model.inputs
        if not isinstance(x, Mapping):
            if len(wanted) > 1:
                names = ", ".join(tensor.name for tensor in wanted)
                raise CodecError(
                    f"the network has {len(wanted)} inputs: expected arrays by name ({names}), got one {_kind(x)}"
                )
            return {wanted[0].name: self._network_input(x, wanted[0])}
        if set(x) != {tensor.name for tensor in wanted}:
            raise CodecError(f"expected the inputs {sorted(t.name for t in wanted)}, got {sorted(map(str, x))}")
        return {tensor.name: self._network_input(x[tensor.name], tensor) for tensor in wanted}

    def _network_input(self, x: Array, wanted: IOTensor) -> Array:
        if not isinstance(x, np.ndarray):
            raise CodecError(f"expected the input {wanted.name!r} as a numpy array, got {_kind(x)}")
        if x.shape == wanted.shape and x.dtype == np.dtype(wanted.dtype):
            return x
        if self.file.input.kind == "image" and x.ndim == 3 and x.dtype == np.uint8:
            return preprocess(x, self.file.input)
        raise CodecError(
            f"expected the input {wanted.name!r} as {wanted.dtype}{list(wanted.shape)}, got {x.dtype}{list(x.shape)}"
        )

    def _picture(self, x: Array | Mapping[str, Array]) -> Array:
        """The picture to send; raises `CodecError` for anything else."""
        name = self.file.model.inputs[0].name
        picture = x.get(name) if isinstance(x, Mapping) else x
        shape = (*self.file.input.height_width, self.file.input.channels)
        if not isinstance(picture, np.ndarray) or picture.shape != shape or picture.dtype != np.uint8:
            got = f"{picture.dtype}{list(picture.shape)}" if isinstance(picture, np.ndarray) else _kind(x)
            raise CodecError(
                f"this plan sends the picture: expected {name!r} as uint8{list(shape)}, got {got}\n"
                "  fix   the path of a picture, or splitpoint.read_picture(path, plan.file.input)"
            )
        return picture


def boundary_names(
    index: int, tensor: str, specs: Sequence[TensorSpec], present: Mapping[str, object]
) -> dict[str, str]:
    """Coder tensor -> graph tensor for crossing tensor number `index`: joined graphs prefix theirs, raw cuts do not."""
    joined = {spec.name: f"{codec_prefix(index)}{spec.name}" for spec in specs}
    return {spec: name if name in present else tensor for spec, name in joined.items()}


def _encoded(coder: Coder) -> tuple[TensorSpec, ...]:
    """The tensors that `coder` takes from head.onnx."""
    return coder.encoded if isinstance(coder, MultiRateCoder) else coder.specs


def _decode(coder: Coder, payload: bytes, rate: int) -> dict[str, Array]:
    """The tensors of one payload in a frame of `rate`; raises `PayloadError`."""
    if isinstance(coder, MultiRateCoder) and (found := coder.rate_of(payload)) != rate:
        raise PayloadError(f"the frame is of rate {rate}, a payload in it of rate {found}")
    return coder.decode(payload)


def _descending(finest: int) -> tuple[int, ...]:
    return tuple(range(finest, -1, -1))


def _kind(x: object) -> str:
    return "array" if isinstance(x, np.ndarray) else type(x).__name__


def _refuse_non_finite(name: str, x: Array, where: str) -> None:
    if np.issubdtype(x.dtype, np.floating) and not np.isfinite(x).all():
        bad = "NaN" if np.isnan(x).any() else "infinity"
        raise CodecError(f"{bad} in {name!r} ({where}): a quantizer would hide it")
