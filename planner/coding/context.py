"""What a codec may know of a cut tensor beside its activations: its range, the layer before it, labels, sensitivity.

Ranges and layers come from the graph. Sensitivities cost seconds, so they are computed once for all cuts that are
searched and within a fixed number of MACs, not within a time: the same model, data and seed give the same plan on every
machine.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from splitpoint.codecs.contract.channel import SymbolChannel
from splitpoint.codecs.contract.protocol import Array, Codec, Context, FitError, Training
from splitpoint.planner.coding.crossing import codec_of
from splitpoint.planner.coding.frozen_layer import Found, convolution_of
from splitpoint.planner.coding.gradients import gradients_torch
from splitpoint.planner.coding.sensitivity import INPUTS, TOP, sensitivity_diagonal
from splitpoint.planner.coding.torch_graph import torch_graph
from splitpoint.planner.cuts.enumeration import cut_of_tensors
from splitpoint.planner.cuts.halves import split, whole_bytes
from splitpoint.planner.deploy.expose import expose
from splitpoint.planner.samples.dataset import NetworkInput
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session
from splitpoint.profiles.network.torch_model import is_torch_spec, load_module

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Contexts", "Layer", "Sensitivities", "activation_range", "layer_of", "spread"]


def __dir__() -> list[str]:
    return __all__


# A backward run is two forward runs' worth; EfficientNet-Lite0's 16 inputs are 68 GMACs: 6 s on one core of 2.5 GHz.
GRADIENT_MACS = 70e9
DIAGONAL_MACS = 100e9  # of all tails that are run: about 6 s on two such cores
RUN_MACS = 2e6  # what a run costs beside its MACs
LEAST_INPUTS = 4  # fewer say more of the input than of the network

NO_CHANNEL = "needs a link with an SNR (awgn, rayleigh_block), over which it sends symbols instead of bits"
NO_TRAINING = "is trained where $.train asks for it; of pruned networks with $.train.pruned: true"
LAYERS = ("Conv", "ConvTranspose", "MaxPool", "AveragePool")  # one map in, one map out: Choi's layer l
# Between a layer and the cut; of two branches (Add, Mul) the one made last counts.
PASSED = (
    "Add",
    "BatchNormalization",
    "Clip",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Mul",
    "PRelu",
    "Relu",
    "Sigmoid",
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layer:
    """The layer that makes a tensor: the input it reads and its own weights."""

    node: str
    input: str
    weights: Mapping[str, Array]  # "weight" (out, in, kh, kw) and "bias" (out,), where it has them


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sensitivities:
    """How the outputs depend on cut tensors, by tensor."""

    gradients: dict[str, Array] = dataclasses.field(default_factory=dict)  # (TOP * N, ...) of the largest outputs
    diagonals: dict[str, Array] = dataclasses.field(default_factory=dict)
    missing: dict[str, str] = dataclasses.field(default_factory=dict)  # why there is none

    @property
    def empty(self) -> bool:
        """Whether nothing was asked for yet."""
        return not (self.gradients or self.diagonals or self.missing)


class Contexts:
    """Contexts of one network's cut tensors, for `NetworkRuns`; give `prepare` the cuts before the first is fitted."""

    def __init__(
        self,
        graph: ModelGraph,
        calibration: Sequence[NetworkInput],
        *,
        labels: Array | None = None,
        seed: int = 0,
        threads: int = 1,
        keep: Callable[[Sequence[Cut], Callable[[], Sensitivities]], Sensitivities] | None = None,
        training: Callable[[str], Training | None] | None = None,
        channel: SymbolChannel | None = None,
        trained_snr_db: tuple[float, float] | None = None,
    ) -> None:
        """`calibration` holds the inputs (of `ModelGraph.feeds`) that codecs are fitted to, `labels` (N,) theirs.

        `keep` gives the sensitivities of cuts that an earlier run computed, or computes and keeps them. `training`
        gives the training of a cut tensor by its name, None where it is not trained; None: none was asked for.
        `channel` is that of a link that carries symbols, `trained_snr_db` the SNRs to train for (None: its own).
        """
        self._graph, self._calibration, self._labels = graph, calibration, labels
        self._seed, self._threads, self._keep, self._training = seed, threads, keep, training
        self._channel, self._trained_snr_db = channel, trained_snr_db
        self.untrained: dict[tuple[str, tuple[str, ...]], str] = {}  # codec and tensors of a cut -> why not
        self._found = Sensitivities()
        self._layer_input: tuple[str, tuple[int, ...], Array] | None = None  # of the last cut
        self._lock = threading.Lock()

    def __call__(self, codec: Codec, cut: Cut, tensor: str, rows: Sequence[int]) -> Context:
        """What `codec` uses of `tensor` for the calibration inputs `rows`; what it does not use is left out."""
        context, layer = self.known(codec, tensor, rows), self._layer(codec, tensor)
        source = layer.input if layer is not None else self._convolution_input(codec, tensor)
        return context if source is None else dataclasses.replace(context, layer_input=self._values(source, rows))

    def known(self, codec: Codec, tensor: str, rows: Sequence[int]) -> Context:
        """The same without the layer's input, which network and calibration inputs decide: nothing is run."""
        context = dataclasses.replace(activation_range(self._graph, tensor), seed=self._seed)
        layer = self._layer(codec, tensor)
        if layer is not None:
            context = dataclasses.replace(context, layer_weights=layer.weights)
        if "convolution" in codec.needs and isinstance(found := convolution_of(self._graph, tensor), Found):
            context = dataclasses.replace(context, convolution=found.layer)
        if "labels" in codec.needs and self._labels is not None:
            context = dataclasses.replace(context, labels=self._labels[list(rows)])
        if "training" in codec.needs and self._training is not None:
            context = dataclasses.replace(context, training=self._training(tensor))
        if "channel" in codec.needs:
            context = dataclasses.replace(context, channel=self._channel, trained_snr_db=self._trained_snr_db)
        if "gradients" in codec.needs | codec.wants:
            context = dataclasses.replace(
                context, gradients=self._found.gradients.get(tensor), sensitivity=self._found.diagonals.get(tensor)
            )
        return context

    def prepare(self, cuts: Sequence[Cut], codecs: Sequence[Codec]) -> dict[str, str]:
        """Have the sensitivities of `cuts` when one of `codecs` uses them; gives codecs that lack a need, and why.

        A key is "NAME at CUT, CUT", "NAME at every cut", or "NAME" where no cut would change it: nothing of that codec
        is fitted.
        """
        if any("gradients" in codec.needs | codec.wants for codec in codecs):
            if self._keep is None or not self._found.empty:  # all cuts are one result
                self._have_sensitivities(cuts)
            else:
                self._found = self._keep(cuts, lambda: self._have_sensitivities(cuts))
        left_out = {}
        for codec in codecs:
            if (never := self._never(codec)) is not None:
                left_out[codec.name] = never
                continue
            lacking: dict[str, list[str]] = {}
            for cut in cuts:
                if (reason := self.lacks(codec, cut)) is not None:
                    lacking.setdefault(reason, []).append("+".join(cut.tensors))
            if cuts and sum(map(len, lacking.values())) == len(cuts):
                left_out[f"{codec.name} at every cut"] = "; ".join(lacking)
            else:
                left_out |= {f"{codec.name} at {', '.join(at)}": reason for reason, at in lacking.items()}
        return left_out

    def input_gradients(self) -> Array:
        """(TOP * N, ...) of the largest outputs by the network's only input; raises `FitError` where there are none.

        Those of `prepare` where it had them, else of the same inputs: what a cut without a head has.
        """
        (entry,) = self._graph.inputs
        if entry.name in self._found.gradients:
            return self._found.gradients[entry.name]
        if entry.dtype != "float32":
            raise FitError(f"needs gradients: the network takes {entry.dtype}")

        def compute() -> Sensitivities:
            found = Sensitivities()
            self._have_gradients((entry.name,), found)
            return found

        cut = cut_of_tensors(self._graph, [entry.name])
        found = compute() if self._keep is None else self._keep([cut], compute)
        if entry.name not in found.gradients:
            raise FitError(f"needs gradients: {found.missing[entry.name]}")
        return found.gradients[entry.name]

    def lacks(self, codec: Codec, cut: Cut) -> str | None:
        """Why `codec` cannot have what it needs at `cut`, or None."""
        if (never := self._never(codec)) is not None:
            return never
        if "training" in codec.needs and self._training is not None:
            if any(self._training(tensor) is None for tensor in cut.tensors):
                return "is not trained there ($.train.cuts)"
            if (codec.name, cut.tensors) in self.untrained:
                return self.untrained[codec.name, cut.tensors]
        if "labels" in codec.needs and self._labels is None:
            return "needs labels, and the data has none"
        for tensor in cut.tensors:
            if len(cut.tensors) > 1 and codec_of(codec, self._graph.tensors[tensor]) is not codec:
                continue  # sent without loss, by a codec that needs nothing
            if "layer" in codec.needs and isinstance(reason := layer_of(self._graph, tensor), str):
                return f"needs the layer that makes the tensor: {reason}"
            if "convolution" in codec.needs and isinstance(why := convolution_of(self._graph, tensor), str):
                return f"needs the output of a convolution: {why}"
            if "gradients" in codec.needs and tensor not in self._found.gradients:
                return f"needs gradients: {self._found.missing.get(tensor, 'none were asked for here')}"
        return None

    def _never(self, codec: Codec) -> str | None:
        """What `codec` lacks at every cut, or None."""
        if "channel" in codec.needs and self._channel is None:
            return NO_CHANNEL
        return NO_TRAINING if "training" in codec.needs and self._training is None else None

    def does_without(self, codec: Codec, cut: Cut) -> str | None:
        """Why `codec` is fitted at `cut` without a sensitivity that it wants, or None; known once prepared."""
        if "gradients" not in codec.wants:
            return None
        known = self._found.gradients.keys() | self._found.diagonals.keys()
        return next((self._found.missing[t] for t in cut.tensors if t in self._found.missing and t not in known), None)

    def _layer(self, codec: Codec, tensor: str) -> Layer | None:
        layer = layer_of(self._graph, tensor) if "layer" in codec.needs else None
        return layer if isinstance(layer, Layer) else None

    def _convolution_input(self, codec: Codec, tensor: str) -> str | None:
        found = convolution_of(self._graph, tensor) if "convolution" in codec.needs else None
        return found.input if isinstance(found, Found) else None

    def _values(self, tensor: str, rows: Sequence[int]) -> Array:
        """(N, ...): `tensor` for the calibration inputs `rows`."""
        key = (tensor, tuple(rows))
        with self._lock:  # codecs that are fitted at once use the same
            found = self._layer_input
            if found is None or found[:2] != key:
                found = self._layer_input = (*key, self._exposed([tensor], rows)[tensor])
            return found[2]

    def _exposed(self, tensors: Sequence[str], rows: Sequence[int]) -> dict[str, Array]:
        """(N, ...) each: `tensors` for the calibration inputs `rows`, all from one run of the network an input."""
        given = {tensor.name for tensor in self._graph.inputs}
        inner = [name for name in tensors if name not in given]
        session = open_session(expose(whole_bytes(self._graph), inner), level="all", threads=self._threads)
        wanted, made = set(rows), []
        for i, x in enumerate(self._calibration):
            if i in wanted:
                feeds = self._graph.feeds(x)
                values = {**feeds, **(session.run(feeds) if inner else {})}
                made.append([values[name] for name in tensors])
        return {name: np.concatenate(parts) for name, parts in zip(tensors, zip(*made, strict=True), strict=True)}

    def _have_sensitivities(self, cuts: Sequence[Cut]) -> Sensitivities:
        """Gradients through the user's module, else through the graph in torch, else the diagonal, else nothing."""
        known = self._graph.tensors
        targets = {
            name: cut
            for cut in cuts
            for name in cut.tensors
            if known[name].dtype == "float32"
            and len(known[name].shape) in (3, 4)
            and known[name].shape[0] == 1
            and name not in self._found.gradients
        }
        if not targets:
            return self._found
        values = self._have_gradients(tuple(targets), self._found)
        self._have_diagonals({name: cut for name, cut in targets.items() if name not in self._found.gradients}, values)
        return self._found

    def _have_gradients(self, targets: Sequence[str], found: Sensitivities) -> Mapping[str, Array]:
        """Add gradients at `targets` to `found`, or why there are none; gives the values that they were taken at."""
        graph = self._graph
        ways: list[Callable[[], nn.Module]] = [lambda: torch_graph(graph)]
        if is_torch_spec(graph.source):  # a pruned or quantized variant keeps the source: its answers tell
            ways.insert(0, lambda: load_module(graph.source))
        count = _affordable((1 + 2 * TOP) * graph.macs, GRADIENT_MACS, least=LEAST_INPUTS)
        rows = spread(len(self._calibration), count)
        feeds = [graph.feeds(self._calibration[i]) for i in rows]
        inputs = [tuple(row[tensor.name] for tensor in graph.inputs) for row in feeds]
        (result, *_) = graph.outputs
        values = self._exposed([*targets, result.name], rows)
        found.missing.update(dict.fromkeys(targets, "there is no torch"))
        for make in ways:
            left = {name: values[name] for name in targets if name not in found.gradients}
            if not left:
                break
            try:
                gradients = gradients_torch(make(), inputs, left, answers=values[result.name])
            except ModuleNotFoundError:
                break
            except (ProfileError, RuntimeError, TypeError) as error:  # of torch; of a forward that takes other inputs
                found.missing.update(dict.fromkeys(left, str(error)))
                continue
            found.gradients.update(gradients.found)
            found.missing.update(gradients.missing)
        return values

    def _have_diagonals(self, targets: Mapping[str, Cut], values: Mapping[str, Array]) -> None:
        budget = DIAGONAL_MACS

        def an_input(name: str) -> float:
            tail_macs = self._graph.macs - targets[name].head_macs
            return (1 + _channels(values[name])) * (tail_macs + RUN_MACS)

        for name in sorted(targets, key=an_input):  # the cheapest first: they are the deepest, where it counts most
            count = _affordable(an_input(name), budget)
            if len(targets[name].tensors) > 1:
                self._found.missing[name] += "; the diagonal needs a cut of one tensor"
            elif count < min(LEAST_INPUTS, len(values[name])):
                self._found.missing[name] += "; the diagonal would take too many runs of the tail"
            else:
                budget -= count * an_input(name)
                self._found.diagonals[name] = sensitivity_diagonal(
                    split(self._graph, targets[name])[1],
                    values[name],
                    axis=2 if values[name].ndim == 3 else 1,
                    count=count,
                    seed=self._seed,
                    threads=self._threads,
                )


def activation_range(graph: ModelGraph, tensor: str) -> Context:
    """The range a cut tensor is known to have because an activation made it: ReLU [0, inf), Clip [min, max]."""
    node = _producer(graph, tensor)
    if node is None or node.op_type not in ("Relu", "Clip"):
        return Context()
    if node.op_type == "Relu":
        return Context(low=0.0)
    low, high = (_constant(node.inputs[i]) if i < len(node.inputs) else None for i in (1, 2))
    return Context(low=-np.inf if low is None else float(low), high=np.inf if high is None else float(high))


def layer_of(graph: ModelGraph, tensor: str) -> Layer | str:
    """The layer that makes `tensor`, with activations and residuals between; or why there is none."""
    order = {name: node.index for node in graph.nodes for name in node.outputs}
    name = tensor
    while True:
        node = _producer(graph, name)
        if node is None:
            return (
                "it is the network's input"
                if name == tensor
                else f"nothing but activations from the input to {tensor!r}"
            )
        data = [value.name for value in node.inputs if value is not None and value.name in graph.tensors]
        if node.op_type in LAYERS:
            break
        if node.op_type not in PASSED or not data:
            return f"it comes from {node.op_type}, which is no layer from maps to maps"
        name = max((str(d) for d in data), key=lambda d: order.get(d, -1))
    if len(graph.tensors[str(data[0])].shape) != 4:
        return f"it comes from {node.op_type} of a tensor that is no map"
    constants = [None if value is None else _constant(value) for value in node.inputs[1:3]]
    named = zip(("weight", "bias"), constants, strict=False)
    return Layer(
        node=str(node.name), input=str(data[0]), weights={key: value for key, value in named if value is not None}
    )


def spread(total: int, count: int) -> list[int]:
    """At most `count` of `total` indices, evenly spaced."""
    if total <= count:
        return list(range(total))
    return [int(i) for i in np.linspace(0, total - 1, count).round()]


def _producer(graph: ModelGraph, tensor: str) -> ir.Node | None:
    value = next((v for node in graph.model.graph for v in node.outputs if v.name == tensor), None)
    return None if value is None else value.producer()


def _constant(value: ir.Value | None) -> Array | None:
    constant = None if value is None else value.const_value
    return None if constant is None else constant.numpy()


def _affordable(macs: float, budget: float, *, least: int = 0) -> int:
    """Inputs of `macs` each that `budget` pays for, from `least` to INPUTS."""
    return max(least, min(INPUTS, int(budget // max(macs, 1.0))))


def _channels(values: Array) -> int:
    return int(values.shape[2 if values.ndim == 3 else 1])
