"""``splitpoint.split``: a network's two halves and the codecs between them, on arrays, without a plan."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from splitpoint.codecs.contract.protocol import Array, Codec, FitError, FittedCodec
from splitpoint.codecs.registry import get as get_codec
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.face.sources import Model, named_model
from splitpoint.planner.output.documents.cuts import CutRow, cuts_document
from splitpoint.planner.setup.checks import check_model_source
from splitpoint.planner.setup.inputs import load_source
from splitpoint.planner.setup.loading import default_threads
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["CutCodec", "Halves", "split"]


def __dir__() -> list[str]:
    return __all__


HERE = "splitpoint.split"  # what errors call the arguments


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CutCodec:
    """A codec fitted at the cut, at one rate."""

    name: str
    rate: str  # its label
    _runs: NetworkRuns
    _cut: Cut
    _fitted: Sequence[FittedCodec]

    def encode(self, tensor: Array) -> bytes:
        """The bytes that would be sent for one input's tensor (1, ...), container included."""
        return self._runs.encode(self._cut, self._fitted, {self._cut.name: np.asarray(tensor)})

    def decode(self, payload: bytes) -> Array:
        """The tensor (1, ...) that the server makes of those bytes; raises `PayloadError`."""
        return self._runs.decode(self._cut, self._fitted, payload, draw=0).tensors[self._cut.name]

    def round_trip(self, tensors: Array) -> tuple[Array, Array]:
        """What arrives of tensors (N, ...), sent one by one, and the bytes of each payload (N,) int64."""

        def send(tensor: Array) -> tuple[Array, int]:
            payload = self.encode(tensor[None])
            return self.decode(payload), len(payload)

        sent = self._runs.map(send, np.asarray(tensors))
        return np.concatenate([tensor for tensor, _ in sent]), np.array([size for _, size in sent], np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Halves:
    """Head and tail of a network at one cut; inputs, tensors and outputs are arrays whose first axis counts inputs."""

    cut: CutRow  # as ``splitpoint.cuts`` has it: shapes, multiply-adds, the head's share of them
    _runs: NetworkRuns
    _cut: Cut

    def head(self, inputs: Array) -> Array:
        """The tensors (N, ...) that cross for inputs (N, ...) as the network takes them, one input at a time."""
        rows = self._runs.sweep_inputs([self._cut], _singles(inputs))
        return np.concatenate([row[self._cut.name] for row in rows])

    def tail(self, tensors: Array) -> Array:
        """The network's outputs (N, ...) from tensors (N, ...), one at a time."""
        outputs = self._runs.map(lambda x: self._runs.tail(self._cut, {self._cut.name: x})[0], _singles(tensors))
        return np.concatenate(outputs)

    def codec(self, name: str, rate: str) -> CutCodec:
        """The codec of that name (`splitpoint codecs`) at the rate of that label, fitted to the calibration inputs.

        Raises `ProfileError` for an unknown rate, without calibration inputs, and where the codec cannot be fitted:
        what has to be trained is trained by ``splitpoint.plan`` with ``train=``.
        """
        codec = get_codec(name)
        place = f"{name} after {self.cut.layer!r}"
        if not self._runs.count("calibration"):
            raise ProfileError("a codec is fitted to inputs, and there are none", at=place, fix=f"{HERE}: calibration=")
        index = _rate(codec, rate)
        if missing := self._runs.prepare([self._cut], [codec]):
            reason = next(iter(missing.values()))
            raise ProfileError(reason, at=place, fix="another codec, or splitpoint.plan with train= and link=")
        try:
            fitted = self._runs.fit(self._cut, name, index)
        except FitError as error:
            raise ProfileError(str(error), at=place) from error
        return CutCodec(name=name, rate=rate, _runs=self._runs, _cut=self._cut, _fitted=fitted)


@contextlib.contextmanager
def split(
    model: Model | Any,
    cut: str,
    *,
    calibration: Array | None = None,
    shapes: tuple[int, ...] | Mapping[str, tuple[int, ...]] | None = None,
    constants: Mapping[str, Any] | None = None,
    threads: int | None = None,
    seed: int = 0,
) -> Iterator[Halves]:
    """The two halves of a network of one input and one output, within a ``with`` block.

    `cut` is a layer, an operator or a tensor as ``splitpoint.cuts`` names them ("input": before the first). Codecs are
    fitted to `calibration`, inputs (N, ...) as the network takes them. Raises `ProfileError`.

    Examples:
        >>> import numpy as np, splitpoint
        >>> x = np.random.default_rng(0).normal(size=(12, 3, 16, 16)).astype(np.float32)
        >>> with splitpoint.split("model.onnx", "conv0", calibration=x) as halves:
        ...     tensors = halves.head(x)
        ...     exact = halves.tail(tensors)
        ...     arrived, sizes = halves.codec("fast", "8 bit").round_trip(tensors)
        ...     coded = halves.tail(arrived)
        >>> bool(0 < sizes.mean() < tensors[0].nbytes)
        True
        >>> exact.shape == coded.shape == (12, 6)
        True
    """
    with named_model(model) as source:
        check_model_source(source)
        graph = load_source(source, shapes, constants=constants or {})
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            counts = f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs"
            raise ProfileError(f"expected one input and one output, got {counts}", at=HERE, fix="splitpoint.plan")
        found, row = _find(graph, cut)
        inputs = {"calibration": [] if calibration is None else _singles(calibration)}
        with NetworkRuns(graph, inputs, threads=threads or default_threads(), seed=seed) as runs:
            yield Halves(cut=row, _runs=runs, _cut=found)


def _find(graph: ModelGraph, name: str) -> tuple[Cut, CutRow]:
    """The cut that is called `name`, the last where several are; raises `ProfileError`."""
    cuts = enumerate_cuts(graph, k=1)
    rows = cuts_document(graph, cuts).cuts
    pairs = list(zip(cuts.cuts, rows, strict=True))
    for kind in range(3):  # a tensor's name before an operator's, and that before a layer's
        named = [(cut, row) for cut, row in pairs if (row.tensors[0], row.after, row.layer)[kind] == name]
        if named:
            return named[-1]
    layers = ", ".join(dict.fromkeys(row.layer for row in rows))
    raise ProfileError(f"no cut {name!r}", at=f"{HERE}: cut", fix=f"a layer, operator or tensor; layers: {layers}")


def _rate(codec: Codec, label: str) -> int:
    labels = [rate.label for rate in codec.rates]
    if label not in labels:
        raise ProfileError(f"{codec.name} has no rate {label!r}", at=HERE, fix=f"one of {', '.join(labels)}")
    return labels.index(label)


def _singles(arrays: Array) -> list[Array]:
    """(N, ...) as N arrays (1, ...)."""
    return [np.asarray(row)[None] for row in arrays]
