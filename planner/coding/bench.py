"""The runnable pieces of one variant: activations at cuts, fitted codecs, tails; each made once and kept while it fits.

I/O and caches live here so that `planner.quality.accuracy` and `planner.cost.price` stay pure
functions of what it returns.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import hashlib
import itertools
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np

from splitpoint.codecs.container import pack, unpack
from splitpoint.codecs.contract.protocol import Array, Codec, Context, FittedCodec
from splitpoint.codecs.registry import CODEC_IDS, REGISTRY
from splitpoint.planner.coding.context import Contexts, spread
from splitpoint.planner.cuts.expose import expose
from splitpoint.planner.cuts.halves import split, whole_bytes
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import Session, open_session

__all__ = ["ACTIVATION_BUDGET_BYTES", "PLACEHOLDER_HASH", "Coded", "Workbench"]


def __dir__() -> list[str]:
    return __all__


ACTIVATION_BUDGET_BYTES = 3 * 2**30  # activations kept in memory; older ones are computed again
SESSION_BUDGET = 96  # open ORT sessions of heads, tails and codec graphs
CALIBRATION_ELEMENTS = 4_000_000  # at a cut: a large map has enough vectors in few inputs
LEAST_CALIBRATION = 6  # inputs, however large the map
PLACEHOLDER_HASH = bytes(8)  # payloads of the search belong to no plan yet; their length is the same

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
T = TypeVar("T")
R = TypeVar("R")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Coded:
    """One input through a codec: the container's bytes and what the decoder graph makes of them."""

    payload: bytes
    tensors: Mapping[str, Array]  # crossing tensor -> reconstruction
    key: bytes  # equal keys at one cut mean equal reconstructions


class Workbench:
    """Heads, tails, activations and fitted codecs of one canonical model over named sets of inputs."""

    def __init__(
        self,
        graph: ModelGraph,
        inputs: Mapping[str, Callable[[], Iterator[Array]]],
        *,
        threads: int,
        labels: Array | None = None,
        seed: int = 0,
    ) -> None:
        """`inputs` maps a set's name ("calibration", "search", "report") to a maker of its (1, ...) arrays.

        `labels` (N,) are those of the calibration set.
        """
        if len(graph.inputs) != 1:
            raise ValueError(f"{graph.name}: expected one input, got {len(graph.inputs)}")
        self.graph = graph
        self._inputs = inputs
        self._threads = threads
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="splitpoint")
        self._lock = threading.RLock()
        calibration = lambda: self.inputs("calibration")  # noqa: E731  a set may be missing where nothing is fitted
        self._contexts = Contexts(graph, calibration, labels=labels, seed=seed, threads=threads)
        self._pairs: dict[tuple[str, ...], tuple[bytes | None, bytes]] = {}
        self._sessions: _Cache[Hashable, Session] = _Cache(SESSION_BUDGET, lambda _: 1)
        self._activations: _Cache[tuple[tuple[str, ...], str], list[dict[str, Array]]] = _Cache(
            ACTIVATION_BUDGET_BYTES, lambda rows: sum(a.nbytes for row in rows for a in row.values())
        )
        self._stacked: tuple[tuple[str, ...], list[int], dict[str, Array]] | None = None
        self._fitted: dict[tuple[tuple[str, ...], str, int], tuple[FittedCodec, ...]] = {}

    @property
    def input_name(self) -> str:
        """Name of the network's input tensor."""
        return self.graph.inputs[0].name

    def inputs(self, subset: str) -> Iterator[Array]:
        """The set's inputs, one (1, ...) array at a time."""
        return self._inputs[subset]()

    def pair(self, cut: Cut) -> tuple[bytes | None, bytes]:
        """Head and tail models of `cut`, uncoded; the head is None when the input itself is the cut."""
        if cut.tensors not in self._pairs:
            if cut.tensors == (self.input_name,):
                self._pairs[cut.tensors] = (None, split(self.graph, cut)[1])
            else:
                self._pairs[cut.tensors] = split(self.graph, cut)
        return self._pairs[cut.tensors]

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Apply `function` to each item, on as many inputs at once as there are threads; results in order.

        One thread an input is up to twice as fast as all threads on one input, and equal bits either way.
        """
        return list(self._pool.map(function, items))

    def activations(self, cut: Cut, subset: str) -> list[dict[str, Array]]:
        """Crossing tensors of every input of `subset`."""
        key = (cut.tensors, subset)
        if (rows := self._activations.get(key)) is None:
            head = self.pair(cut)[0]
            if head is None:
                rows = [{self.input_name: x} for x in self.inputs(subset)]
            else:
                session = self._session(("head", cut.tensors), lambda: head)
                rows = self.map(lambda x: session.run({self.input_name: x}), self.inputs(subset))
            self._activations.put(key, rows)
        return rows

    def sweep(self, cuts: Sequence[Cut], subset: str, count: int) -> Iterator[dict[str, Array]]:
        """All tensors of all `cuts` for the first `count` inputs of `subset`, each from one run of the network."""
        names = sorted({name for cut in cuts for name in cut.tensors} - {self.input_name})
        session = open_session(expose(self._whole_bytes(), names), level="all", threads=1)
        for x in itertools.islice(self.inputs(subset), count):
            yield {self.input_name: x, **session.run({self.input_name: x})}

    def tail(self, cut: Cut, tensors: Mapping[str, Array]) -> list[Array]:
        """The network's outputs from the crossing tensors."""
        outputs = self._session(("tail", cut.tensors), lambda: self.pair(cut)[1]).run(tensors)
        return [outputs[tensor.name] for tensor in self.graph.outputs]

    def whole(self, x: Array) -> list[Array]:
        """The unsplit network's outputs."""
        session = self._session("whole", self._whole_bytes)
        outputs = session.run({self.input_name: x})
        return [outputs[tensor.name] for tensor in self.graph.outputs]

    def prepare(self, cuts: Sequence[Cut], codecs: Sequence[Codec]) -> dict[str, str]:
        """Have what `codecs` use beside activations at `cuts`; gives "codec at cuts" -> what it needs and cannot have.

        Without it a codec that weights its noise by sensitivity is fitted without.
        """
        return self._contexts.prepare(cuts, codecs)

    def fit(self, cut: Cut, codec: str, rate: int) -> tuple[FittedCodec, ...]:
        """The codec fitted on the calibration set, one per crossing tensor; raises `FitError`."""
        key = (cut.tensors, codec, rate)
        if key not in self._fitted:
            chosen, stacked = self._calibration(cut)
            self._fitted[key] = tuple(
                REGISTRY[codec].fit(stacked[name], rate, self._context(codec, cut, name, chosen))
                for name in cut.tensors
            )
        return self._fitted[key]

    def _calibration(self, cut: Cut) -> tuple[list[int], dict[str, Array]]:
        """Which calibration inputs are used, and activations (N, ...) by tensor; those of the last cut are kept."""
        if self._stacked is None or self._stacked[0] != cut.tensors:
            enough = max(LEAST_CALIBRATION, CALIBRATION_ELEMENTS // cut.elements)
            rows = self.activations(cut, "calibration")
            chosen = spread(len(rows), enough)
            stacked = {name: np.concatenate([rows[i][name] for i in chosen]) for name in cut.tensors}
            self._stacked = (cut.tensors, chosen, stacked)
        return self._stacked[1:]

    def _context(self, codec: str, cut: Cut, tensor: str, rows: Sequence[int]) -> Context:
        return dataclasses.replace(self._contexts(REGISTRY[codec], cut, tensor, rows), run=self._run_once)

    def _run_once(self, model: bytes, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return open_session(model, level="all", threads=self._threads).run(feeds)

    def encode(self, cut: Cut, fitted: Sequence[FittedCodec], tensors: Mapping[str, Array]) -> bytes:
        """One input's crossing tensors as one container: the bytes that would be sent."""
        parts = []
        for name, codec in zip(cut.tensors, fitted, strict=True):
            symbols = {"x": tensors[name]}
            if codec.encoder is not None:
                symbols = self._graph_session(codec.encoder).run(symbols)
            parts.append(codec.coder.encode(symbols))
        return pack(parts, codec_id=CODEC_IDS[fitted[0].codec], rate=fitted[0].rate, plan_hash=PLACEHOLDER_HASH)

    def decode(self, cut: Cut, fitted: Sequence[FittedCodec], payload: bytes) -> Coded:
        """What the server makes of those bytes, and nothing else."""
        first = fitted[0]
        parts = unpack(
            payload,
            codec_id=CODEC_IDS[first.codec],
            rate=first.rate,
            plan_hash=PLACEHOLDER_HASH,
            count=len(cut.tensors),
        )
        tensors, keys = {}, []
        for name, codec, part in zip(cut.tensors, fitted, parts, strict=True):
            decoded = codec.coder.decode(part)
            keys += [codec.transform_key.encode(), *(decoded[spec.name].tobytes() for spec in codec.coder.specs)]
            if codec.decoder is None:
                tensors[name] = decoded["x"]
            else:
                (tensors[name],) = self._graph_session(codec.decoder).run(decoded).values()
        return Coded(payload=payload, tensors=tensors, key=hashlib.sha256(b"\0".join(keys)).digest())

    def _whole_bytes(self) -> bytes:
        return whole_bytes(self.graph)

    def _graph_session(self, model: bytes) -> Session:
        return self._session(("codec", hashlib.sha256(model).digest()), lambda: model)

    def _session(self, key: Hashable, model: Callable[[], bytes]) -> Session:
        with self._lock:
            if (session := self._sessions.get(key)) is None:
                session = open_session(model(), level="all", threads=1)
                self._sessions.put(key, session)
            return session


class _Cache(Generic[K, V]):
    """Least recently used entries up to a budget."""

    def __init__(self, budget: int, size: Callable[[V], int]) -> None:
        self._budget, self._size, self._used = budget, size, 0
        self._entries: collections.OrderedDict[K, tuple[V, int]] = collections.OrderedDict()

    def get(self, key: K) -> V | None:
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: K, value: V) -> None:
        size = self._size(value)
        self._entries[key] = (value, size)
        self._used += size
        while self._used > self._budget and len(self._entries) > 1:
            self._used -= self._entries.popitem(last=False)[1][1]
