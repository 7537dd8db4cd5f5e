"""Runs of one network: activations at its cuts, fitted codecs, payloads, tails; sessions and threads end with it.

I/O and caches live here so that `planner.quality.accuracy` and `planner.cost.price` stay pure functions of what it
returns.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import hashlib
import itertools
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TypeVar

import numpy as np

from splitpoint.codecs.container import Frame
from splitpoint.codecs.contract.channel import SymbolChannel, simulated
from splitpoint.codecs.contract.protocol import Array, Calibration, Codec, Context, FitError, FittedCodec, Training
from splitpoint.codecs.pictures.picture import PICTURES, PictureCodec
from splitpoint.codecs.pictures.quant_tables import QuantTables, fit_tables
from splitpoint.codecs.registry import CODEC_IDS, REGISTRY
from splitpoint.planner.coding.cache import ByteCache, default_budget
from splitpoint.planner.coding.context import Contexts, spread
from splitpoint.planner.coding.crossing import FALLBACKS, codec_of, coded_shape
from splitpoint.planner.coding.kept import KeptFits
from splitpoint.planner.cuts.halves import split, whole_bytes
from splitpoint.planner.deploy.expose import expose
from splitpoint.planner.samples.dataset import NetworkInput
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.keys import context_key
from splitpoint.profiles.network.inputs import InputSpec, level_gradients
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import Session, open_session

__all__ = ["PLACEHOLDER_HASH", "Coded", "NetworkRuns"]


def __dir__() -> list[str]:
    return __all__


SESSION_BYTES = 4 * 2**20  # that a session takes beside its weights, about: its arena and its graph
CODEC_SHARE = 64  # one part in so many of the budget is for sessions of codec graphs
CALIBRATION_ELEMENTS = 4_000_000  # at a cut: a large map has enough vectors in few inputs
LEAST_CALIBRATION = 6  # inputs, however large the map
PLACEHOLDER_HASH = bytes(8)  # payloads of the search belong to no plan yet; their length is the same

T = TypeVar("T")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Coded:
    """One input through a codec: the container's bytes and what the decoder graph makes of them."""

    payload: bytes
    tensors: Mapping[str, Array]  # crossing tensor -> reconstruction
    key: bytes  # equal keys at one cut mean equal reconstructions


class NetworkRuns:
    """Heads, tails, activations and fitted codecs of one canonical model over named sets of inputs.

    A context manager: on leaving, its threads end and what it kept is dropped.
    """

    def __init__(
        self,
        graph: ModelGraph,
        inputs: Mapping[str, Sequence[NetworkInput]],
        *,
        threads: int,
        labels: Array | None = None,
        seed: int = 0,
        name: str = "given",
        cache: ByteCache | None = None,
        kept: KeptFits | None = None,
        training: Callable[[str], Training | None] | None = None,
        channel: SymbolChannel | None = None,
        trained_snr_db: tuple[float, float] | None = None,
    ) -> None:
        """`inputs` maps a set's name ("calibration", "search", "report") to what `ModelGraph.feeds` takes.

        `labels` (N,) are those of the calibration set. Networks that share a `cache` have different names. Fitted
        codecs are looked up in `kept` and kept there. `training` gives the training of a cut tensor by its name;
        without it codecs that are trained are not fitted. `channel` is that of a link that carries symbols: without it
        codecs that send symbols are not fitted; they are trained for `trained_snr_db`, None: its own SNR.
        """
        self.graph, self.name = graph, name
        self.cache = ByteCache(default_budget()) if cache is None else cache
        self._inputs, self.kept = inputs, kept
        self._threads, self._seed = threads, seed
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="splitpoint")
        self._codec_sessions = ByteCache(self.cache.budget_bytes // CODEC_SHARE)
        self._context_keys: dict[Hashable, str] = {}
        self._tables: QuantTables | FitError | None = None  # of pictures; None: not asked for yet
        self._lock = threading.RLock()
        self._contexts = Contexts(
            graph,
            inputs.get("calibration", ()),
            labels=labels,
            seed=seed,
            threads=threads,
            keep=None if kept is None else functools.partial(kept.sensitivities, graph),
            training=training,
            channel=channel,
            trained_snr_db=trained_snr_db,
        )

    def __enter__(self) -> NetworkRuns:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads and drop what was kept."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.cache.clear()
        self._codec_sessions.clear()

    def count(self, subset: str) -> int:
        """How many inputs the set has."""
        return len(self._inputs[subset])

    def input(self, subset: str, index: int) -> NetworkInput:
        """The set's input number `index`."""
        return self._inputs[subset][index]

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Apply `function` to each item, on as many inputs at once as there are threads; results in order.

        One thread an input is up to twice as fast as all threads on one input, and equal bits either way.
        """
        return list(self._pool.map(function, items))

    def activation(self, cut: Cut, subset: str, index: int) -> dict[str, Array]:
        """Crossing tensors of one input of `subset`."""

        def compute() -> dict[str, Array]:
            feeds = self.graph.feeds(self.input(subset, index))
            if not cut.head:
                return {name: feeds[name] for name in cut.tensors}
            return self._session(("head", cut.tensors), lambda: self._pair(cut)[0]).run(feeds)

        key = ("activation", self.name, cut.tensors, subset, index)
        return self.cache.get(key, compute, lambda row: sum(a.nbytes for a in row.values()))

    def sweep(self, cuts: Sequence[Cut], subset: str, count: int) -> Iterator[dict[str, Array]]:
        """All tensors of all `cuts` for the first `count` inputs of `subset`, each from one run of the network."""
        yield from self.sweep_inputs(cuts, itertools.islice(self._inputs[subset], count))

    def sweep_inputs(
        self, cuts: Sequence[Cut], inputs: Iterable[Array | Mapping[str, Array]]
    ) -> Iterator[dict[str, Array]]:
        """All tensors of all `cuts` for each of `inputs`, one input's in memory at a time."""
        given = {tensor.name for tensor in self.graph.inputs}
        names = sorted({name for cut in cuts for name in cut.tensors} - given)
        session = open_session(expose(whole_bytes(self.graph), names), level="all", threads=1)
        for x in inputs:
            feeds = self.graph.feeds(x)
            yield {**feeds, **session.run(feeds)}

    def tail(self, cut: Cut, tensors: Mapping[str, Array]) -> list[Array]:
        """The network's outputs from the crossing tensors."""
        outputs = self._session(("tail", cut.tensors), lambda: self._pair(cut)[1]).run(tensors)
        return [outputs[tensor.name] for tensor in self.graph.outputs]

    def whole(self, x: NetworkInput) -> list[Array]:
        """The unsplit network's outputs."""
        outputs = self._session(("whole",), lambda: whole_bytes(self.graph)).run(self.graph.feeds(x))
        return [outputs[tensor.name] for tensor in self.graph.outputs]

    def prepare(self, cuts: Sequence[Cut], codecs: Sequence[Codec]) -> dict[str, str]:
        """Compute what `codecs` use beside activations at `cuts`; gives "codec at cuts" -> what it lacks.

        Without it a codec that weights its noise by sensitivity is fitted without.
        """
        self._context_keys.clear()
        return self._contexts.prepare(cuts, codecs)

    def lacks(self, codec: Codec, cut: Cut) -> str | None:
        """Why `codec` cannot have what it needs at `cut`, or None."""
        return self._contexts.lacks(codec, cut)

    def fit(self, cut: Cut, codec: str, rate: int) -> tuple[FittedCodec, ...]:
        """The codec fitted on the calibration set, one per crossing tensor; raises `FitError`.

        A tensor that the codec does not take beside one that it does is coded without loss.
        """

        def compute() -> tuple[FittedCodec, ...]:
            chosen, stacked = self._calibration(cut)
            fitted: dict[str, FittedCodec] = {}
            own = self._codecs_of(cut, codec)
            for used in dict.fromkeys(own.values()):
                names = [name for name in cut.tensors if own[name] is used]
                tensors = [
                    Calibration(activations=stacked[name], context=self._context(used, cut, name, chosen))
                    for name in names
                ]
                rows = used.fit(tensors, [rate if used is REGISTRY[codec] else 0])
                fitted |= {name: row[0] for name, row in zip(names, rows, strict=True)}
            return tuple(fitted[name] for name in cut.tensors)

        def look() -> tuple[FittedCodec, ...]:
            if self.kept is None:
                return compute()
            return self.kept.fitted(self.fitted_key(cut, codec, rate), compute)

        return self.cache.get(
            ("fitted", self.name, cut.tensors, codec, rate), look, lambda fitted: sum(map(_fitted_bytes, fitted))
        )

    def picture_codec(self, name: str, spec: InputSpec) -> PictureCodec:
        """The picture codec, its tables fitted to the calibration set where it has some; raises `FitError`.

        `spec` says how a picture becomes the network's input.
        """
        codec = PICTURES[name]
        if not codec.weighted:
            return codec
        with self._lock:
            if self._tables is None:
                try:
                    self._tables = fit_tables(level_gradients(self._contexts.input_gradients(), spec))
                except FitError as error:
                    self._tables = error
            if isinstance(self._tables, FitError):
                raise FitError(str(self._tables))
            return codec.with_tables(self._tables)

    def prepare_pictures(self, spec: InputSpec) -> dict[str, str]:
        """Fit the tables of picture codecs; gives codecs that cannot have them, and why."""
        lacking = {}
        for name, codec in PICTURES.items():
            if codec.weighted:
                try:
                    self.picture_codec(name, spec)
                except FitError as error:
                    lacking[name] = str(error)
        return lacking

    def fit_trained(self, cut: Cut, codec: Codec, rates: Sequence[int], training: Training) -> tuple[FittedCodec, ...]:
        """A trained codec at those rates, at a cut of one tensor, as `training` leaves it; nothing is kept.

        Raises `FitError`.
        """
        (tensor,) = cut.tensors
        chosen, stacked = self._calibration(cut)
        context = dataclasses.replace(self._context(codec, cut, tensor, chosen), training=training, memo=None)
        (fitted,) = codec.fit([Calibration(activations=stacked[tensor], context=context)], rates)
        return fitted

    def leave_untrained(self, cut: Cut, codec: Codec, reason: str) -> None:
        """From now on `codec` lacks its training at `cut`, for this reason."""
        self._contexts.untrained[codec.name, cut.tensors] = reason

    def fitted_key(self, cut: Cut, codec: str, rate: int) -> str:
        """The content key of what `fit` gives; once `prepare` has run. Raises `ValueError` where nothing is kept."""
        if self.kept is None:
            raise ValueError("fitted codecs of these runs are not kept")
        own, rows = self._codecs_of(cut, codec), self._rows(cut)
        contexts = [self._context_key(own[name], name, rows) for name in cut.tensors]
        return self.kept.fitted_key(self.graph, cut, REGISTRY[codec], rate, rows, contexts)

    def _context_key(self, codec: Codec, tensor: str, rows: Sequence[int]) -> str:
        """Codecs that use the same of a tensor have one key: its arrays are read once."""
        uses = (codec.needs | codec.wants, tensor, tuple(rows))
        if uses not in self._context_keys:
            self._context_keys[uses] = context_key(self._contexts.known(codec, tensor, rows))
        return self._context_keys[uses]

    def _codecs_of(self, cut: Cut, codec: str) -> dict[str, Codec]:
        """Which codec each crossing tensor has."""
        return {name: codec_of(REGISTRY[codec], self.graph.tensors[name]) for name in cut.tensors}

    def _rows(self, cut: Cut) -> list[int]:
        """Which calibration inputs are used at the cut."""
        return spread(len(self._inputs["calibration"]), max(LEAST_CALIBRATION, CALIBRATION_ELEMENTS // cut.elements))

    def encode(self, cut: Cut, fitted: Sequence[FittedCodec], tensors: Mapping[str, Array]) -> bytes:
        """One input's crossing tensors as one container: the bytes that would be sent."""
        parts = []
        for name, codec in zip(cut.tensors, fitted, strict=True):
            symbols = {"x": tensors[name].reshape(codec.shape)}
            if codec.encoder is not None:
                symbols = self._graph_session(codec.encoder).run(symbols)
            parts.append(codec.coder.encode(symbols))
        frame = _frame(fitted)
        return frame.pack(parts, frame.rates[0])

    def decode(self, cut: Cut, fitted: Sequence[FittedCodec], payload: bytes, *, draw: int) -> Coded:
        """What the server makes of those bytes, and nothing else.

        Where they are channel symbols they get the noise of message number `draw` first.
        """
        _, parts = _frame(fitted).unpack(payload)
        tensors, keys = {}, []
        for name, codec, part in zip(cut.tensors, fitted, parts, strict=True):
            decoded = codec.coder.decode(part)
            if codec.channel is not None:
                decoded = {
                    key: simulated(codec.channel, symbols, seed=self._seed, draw=draw)
                    for key, symbols in decoded.items()
                }
            keys += [codec.transform_key.encode(), *(decoded[spec.name].tobytes() for spec in codec.coder.specs)]
            if codec.decoder is not None:
                decoded = self._graph_session(codec.decoder).run(decoded)
            (made,) = decoded.values()
            tensors[name] = made.reshape(self.graph.tensors[name].shape)
        return Coded(payload=payload, tensors=tensors, key=hashlib.sha256(b"\0".join(keys)).digest())

    def _pair(self, cut: Cut) -> tuple[bytes, bytes]:
        return self.cache.get(
            ("halves", self.name, cut.tensors), lambda: split(self.graph, cut), lambda pair: sum(map(len, pair))
        )

    def _calibration(self, cut: Cut) -> tuple[list[int], dict[str, Array]]:
        """Which calibration inputs are used, and activations (N, ...) by tensor."""

        def compute() -> tuple[list[int], dict[str, Array]]:
            chosen = self._rows(cut)
            rows = self.map(lambda i: self.activation(cut, "calibration", i), chosen)
            return chosen, {
                name: np.concatenate([row[name].reshape(coded_shape(row[name].shape)) for row in rows])
                for name in cut.tensors
            }

        return self.cache.get(
            ("calibration", self.name, cut.tensors), compute, lambda made: sum(a.nbytes for a in made[1].values())
        )

    def _context(self, codec: Codec, cut: Cut, tensor: str, rows: Sequence[int]) -> Context:
        def memo(key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
            return self.cache.get(("fit", self.name, cut.tensors, tensor, key), make, size)

        context = self._contexts(codec, cut, tensor, rows)
        return dataclasses.replace(context, run=self._run_once, memo=memo)

    def _run_once(self, model: bytes, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return open_session(model, level="all", threads=self._threads).run(feeds)

    def _graph_session(self, model: bytes) -> Session:
        """A codec's graph loads in a millisecond and serves one candidate: few are kept, apart from the large ones."""
        with self._lock:
            return self._codec_sessions.get(
                hashlib.sha256(model).digest(),
                lambda: open_session(model, level="all", threads=1),
                lambda _: len(model) + SESSION_BYTES,
            )

    def _session(self, key: Hashable, model: Callable[[], bytes]) -> Session:
        def make() -> tuple[Session, int]:
            data = model()
            return open_session(data, level="all", threads=1), len(data) + SESSION_BYTES

        with self._lock:  # two threads would load the same model twice
            return self.cache.get(("session", self.name, key), make, lambda made: made[1])[0]


def _fitted_bytes(codec: FittedCodec) -> int:
    tables = sum(array.nbytes for array in codec.coder.arrays().values())
    return len(codec.encoder or b"") + len(codec.decoder or b"") + tables


def _frame(fitted: Sequence[FittedCodec]) -> Frame:
    first = next((codec for codec in fitted if codec.codec not in FALLBACKS), fitted[0])
    return Frame(codec_id=CODEC_IDS[first.codec], rates=(first.rate,), plan_hash=PLACEHOLDER_HASH, count=len(fitted))
