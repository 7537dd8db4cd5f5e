"""What codecs get with a cut tensor: ranges, layers, labels, gradients, and notes on what is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.parser
import pytest

import splitpoint.planner.coding.context
from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.coding.context import Contexts, Layer, activation_range, layer_of, spread
from splitpoint.planner.coding.kept import KeptFits
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.coding.torch_graph import torch_graph
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.store.results import results_here
from splitpoint.planner.store.store import Store
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.tests.switches import NoSteps

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
KLTQ, CHOI, FAST = REGISTRY["kltq-rans"], REGISTRY["choi-tiles"], REGISTRY["fast"]
MODEL = """
<ir_version: 9, opset_import: ["" : 17]>
net (float[1,3,8,8] x) => (float[1,5] scores) {
    c0 = Conv <pads = [1, 1, 1, 1]> (x, w0, b0)
    r0 = Relu (c0)
    c1 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (r0, w1)
    c2 = Conv <pads = [1, 1, 1, 1]> (c1, w2)
    a2 = Add (c1, c2)
    r2 = Clip (a2, zero, six)
    pooled = GlobalAveragePool (r2)
    flat = Flatten (pooled)
    scores = Gemm (flat, w3)
}
"""
SHAPES = {"w0": (6, 3, 3, 3), "b0": (6,), "w1": (8, 6, 3, 3), "w2": (8, 8, 3, 3), "w3": (8, 5)}


@pytest.fixture(scope="module")
def graph() -> ModelGraph:
    return graph_of(MODEL)


def graph_of(text: str) -> ModelGraph:
    proto, rng = onnx.parser.parse_model(text), np.random.default_rng(1)
    values = {name: rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]) + 1) for name, shape in SHAPES.items()}
    for name, value in {**values, "zero": np.array(0.0), "six": np.array(6.0)}.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value.astype(np.float32), name))
    return load_graph(proto.SerializeToString())


def inputs(count: int = 6) -> list[Array]:
    return [np.random.default_rng(i).normal(size=(1, 3, 8, 8)).astype(np.float32) for i in range(count)]


def cut_of(graph: ModelGraph, tensor: str) -> Cut:
    return next(cut for cut in enumerate_cuts(graph).cuts if cut.tensors == (tensor,))


def test_ranges_are_those_of_the_activation_right_before_the_cut(graph: ModelGraph) -> None:
    def bounds(tensor: str) -> tuple[float, float]:
        context = activation_range(graph, tensor)
        return context.low, context.high

    assert bounds("r0") == (0, np.inf)
    assert bounds("r2") == (0, 6)
    assert bounds("c1") == bounds("x") == (-np.inf, np.inf)


def test_the_layer_is_found_behind_activations_and_residuals(graph: ModelGraph) -> None:
    relu, residual, plain = (layer_of(graph, name) for name in ("r0", "r2", "c1"))
    assert isinstance(relu, Layer)
    assert isinstance(residual, Layer)
    assert isinstance(plain, Layer)
    assert (relu.input, residual.input, plain.input) == ("x", "c1", "r0")
    assert {name: value.shape for name, value in relu.weights.items()} == {"weight": (6, 3, 3, 3), "bias": (6,)}
    assert layer_of(graph, "x") == "it is the network's input"
    assert "Flatten" in str(layer_of(graph, "flat"))


def test_choi_gets_the_layers_input_for_the_inputs_that_it_is_fitted_to(graph: ModelGraph) -> None:
    contexts = Contexts(graph, inputs())
    context = contexts(CHOI, cut_of(graph, "c1"), "c1", [0, 2, 5])
    runs = NetworkRuns(graph, {"calibration": inputs()}, threads=1)
    expected = [runs.activation(cut_of(graph, "r0"), "calibration", i)["r0"] for i in range(6)]
    assert context.layer_input is not None
    assert np.allclose(context.layer_input, np.concatenate([expected[i] for i in (0, 2, 5)]), atol=1e-5)
    assert context.layer_weights["weight"].shape == (8, 6, 3, 3)
    other = contexts(FAST, cut_of(graph, "c1"), "c1", [0])
    assert (other.layer_input, other.gradients, other.labels) == (None, None, None)


def test_choi_is_fitted_at_a_cut_and_codes(graph: ModelGraph) -> None:
    runs, cut = NetworkRuns(graph, {"calibration": inputs()}, threads=1), cut_of(graph, "c1")
    fitted = runs.fit(cut, "choi-tiles", 6)
    row = runs.activation(cut, "calibration", 0)
    coded = runs.decode(cut, fitted, runs.encode(cut, fitted, row), draw=0)
    assert np.linalg.norm(coded.tensors["c1"] - row["c1"]) < 0.9 * np.linalg.norm(row["c1"])


def test_what_a_codec_lacks_is_named_by_cut(graph: ModelGraph) -> None:
    cuts = [cut_of(graph, name) for name in ("x", "c1", "flat")]
    left_out = Contexts(graph, inputs()).prepare(cuts, [CHOI, FAST])
    assert set(left_out) == {"choi-tiles at x", "choi-tiles at flat"}
    assert "the network's input" in left_out["choi-tiles at x"]
    alone = Contexts(graph, inputs()).prepare(cuts[:1], [CHOI])
    assert set(alone) == {"choi-tiles at every cut"}


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A codec that needs labels; none is registered yet."""

    name: str = "labelled"
    needs: frozenset[str] = frozenset({"labels"})
    wants: frozenset[str] = frozenset()


def test_labels_are_those_of_the_inputs_fitted_to(graph: ModelGraph) -> None:
    codec: Any = Labelled()
    cut = cut_of(graph, "c1")
    contexts = Contexts(graph, inputs(), labels=np.arange(6) * 10)
    assert list(np.asarray(contexts(codec, cut, "c1", [1, 4]).labels)) == [10, 40]
    assert contexts.lacks(codec, cut) is None
    assert Contexts(graph, inputs()).lacks(codec, cut) == "needs labels, and the data has none"


def test_a_codec_that_is_trained_is_left_out_unless_training_was_asked_for(graph: ModelGraph) -> None:
    switch, cuts = REGISTRY["dynamic-switch"], [cut_of(graph, name) for name in ("r0", "c1")]
    without = Contexts(graph, inputs())
    assert without.prepare(cuts, [switch, FAST]) == {
        "dynamic-switch": "is trained where $.train asks for it; of pruned networks with $.train.pruned: true"
    }
    assert (
        without.lacks(switch, cuts[0])
        == "is trained where $.train asks for it; of pruned networks with $.train.pruned: true"
    )
    assert without(switch, cuts[0], "r0", [0]).training is None
    asked = Contexts(graph, inputs(), training=lambda tensor: NoSteps(key=f"of {tensor}"))
    assert asked.prepare(cuts, [switch, FAST]) == {}
    found = [asked(switch, cut, cut.tensors[0], [0]).training for cut in cuts]
    assert [training.key for training in found if training is not None] == ["of r0", "of c1"]
    assert asked(FAST, cuts[0], "r0", [0]).training is None


def test_runs_fit_a_trained_codec_once_for_all_rates_of_a_cut(graph: ModelGraph) -> None:
    made: list[NoSteps] = []

    def training(tensor: str) -> NoSteps:
        made.append(NoSteps(key=tensor))
        return made[-1]

    cut = cut_of(graph, "r0")
    with NetworkRuns(graph, {"calibration": inputs()}, threads=1, training=training) as runs:
        rows = [runs.fit(cut, "dynamic-switch", rate)[0] for rate in (0, 2, 1)]
        tensors = runs.activation(cut, "calibration", 0)
        sizes = [len(runs.encode(cut, [row], tensors)) for row in rows]
        decoded = [runs.decode(cut, [row], runs.encode(cut, [row], tensors), draw=0) for row in rows]
    assert sum(training.calls for training in made) == 1
    assert sizes[0] < sizes[2] < sizes[1]
    assert len({coded.key for coded in decoded}) == 3


def test_an_onnx_model_has_exact_gradients_at_every_cut(graph: ModelGraph) -> None:
    contexts = Contexts(graph, inputs(), seed=3)
    cuts = [cut_of(graph, name) for name in ("x", "r0", "r2")]
    contexts.prepare(cuts, [KLTQ])
    assert [contexts.does_without(KLTQ, cut) for cut in cuts] == [None] * 3
    # Behind the last nonlinearity the Jacobian is the classifier's weight over the positions, whatever the input.
    context = contexts(KLTQ, cuts[2], "r2", [0])
    assert context.gradients is not None
    assert (context.gradients.shape, context.seed) == ((6 * 5, 8, 4, 4), 3)
    weight = next(v for v in graph.model.graph.initializers.values() if v.shape == [8, 5]).const_value
    assert weight is not None
    expected = weight.numpy() - weight.numpy().mean(axis=1, keepdims=True)
    matrix = np.einsum("mchw,mdhw->cd", context.gradients, context.gradients) / 6
    assert np.allclose(matrix, expected @ expected.T / 16, atol=1e-6)


def test_gradients_are_asked_for_only_where_a_codec_takes_them(
    graph: ModelGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise AssertionError("gradients were computed")

    monkeypatch.setattr(splitpoint.planner.coding.context, "gradients_torch", fail)
    assert KLTQ.wants == {"gradients"}
    assert CHOI.wants == frozenset()
    assert Contexts(graph, inputs()).prepare([cut_of(graph, "c1")], [FAST, REGISTRY["raw"]]) == {}


def test_the_same_seed_gives_the_same_sensitivity_and_fit(graph: ModelGraph) -> None:
    cut = cut_of(graph, "c1")
    fits = []
    for _ in range(2):
        runs = NetworkRuns(graph, {"calibration": inputs()}, threads=1)
        runs.prepare([cut], [KLTQ])
        fits.append(runs.fit(cut, "kltq-rans", 6)[0])
    without = NetworkRuns(graph, {"calibration": inputs()}, threads=1).fit(cut, "kltq-rans", 6)[0]
    assert fits[0].transform_key == fits[1].transform_key != without.transform_key
    assert any("no gradients" in note for note in without.notes)
    assert not any("no gradients" in note for note in fits[0].notes)


UNKNOWN = MODEL.replace("GlobalAveragePool (r2)", "GlobalLpPool (r2)")


def test_where_torch_cannot_run_the_graph_the_diagonal_is_estimated_within_its_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = graph_of(UNKNOWN)
    with pytest.raises(ProfileError, match="no gradients through GlobalLpPool"):
        torch_graph(graph)
    cuts = [cut_of(graph, name) for name in ("r0", "r2")]
    contexts = Contexts(graph, inputs())
    contexts.prepare(cuts, [KLTQ])
    context = contexts(KLTQ, cuts[1], "r2", [0])
    assert context.gradients is None
    assert context.sensitivity is not None
    assert context.sensitivity.shape == (8,)
    assert [contexts.does_without(KLTQ, cut) for cut in cuts] == [None, None]
    # Enough for 6 inputs with 6 channels, not with 8 as well.
    monkeypatch.setattr(splitpoint.planner.coding.context, "DIAGONAL_MACS", 6 * 7 * 2.1e6)
    bounded = Contexts(graph, inputs())
    bounded.prepare(cuts, [KLTQ])
    missing = bounded.does_without(KLTQ, cuts[1])
    assert missing is not None
    assert "GlobalLpPool" in missing
    assert bounded.does_without(KLTQ, cuts[0]) is None
    assert bounded.does_without(FAST, cuts[1]) is None
    assert "too many runs" in missing


def test_a_graph_in_torch_that_answers_otherwise_is_not_believed(
    graph: ModelGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(graph: ModelGraph) -> Any:
        inner = torch_graph(graph)
        return type("Twice", (type(inner),), {"forward": lambda self, x: 2 * inner(x)})()

    monkeypatch.setattr(splitpoint.planner.coding.context, "torch_graph", twice)
    contexts = Contexts(graph, inputs())
    cut = cut_of(graph, "r2")
    contexts.prepare([cut], [KLTQ])
    context = contexts(KLTQ, cut, "r2", [0])
    assert context.gradients is None
    assert context.sensitivity is not None


@pytest.mark.parametrize(
    ("name", "side", "options"),
    [
        ("resnet20", 32, {"width": 4}),
        ("mobilenet_v2", 32, {"width": 0.25}),
        ("shufflenet_v2", 32, {"width": (8, 16, 32, 64, 64)}),
        ("densenet121", 32, {"growth": 4, "stages": (1, 1, 1, 1), "stem": 8}),
        ("vit", 32, {"dim": 16, "depth": 1, "heads": 2, "side": 32}),
    ],
)
def test_usual_networks_have_gradients_at_every_cut_of_maps_or_tokens(
    nets: ModuleType, torch_graph: Callable[..., ModelGraph], name: str, side: int, options: dict[str, Any]
) -> None:
    graph = torch_graph(name, side, **options)
    values = [RNG.normal(size=(1, 3, side, side)).astype(np.float32) for _ in range(2)]
    contexts = Contexts(graph, values)
    cuts = enumerate_cuts(graph).cuts
    contexts.prepare(cuts, [KLTQ])
    for cut in cuts:
        (tensor,) = cut.tensors
        if len(graph.tensors[tensor].shape) in (3, 4):
            gradients = contexts(KLTQ, cut, tensor, [0, 1]).gradients
            assert gradients is not None, tensor
            assert np.isfinite(gradients).all()
            assert np.abs(gradients).max() > 0


def test_spread_takes_even_steps_with_both_ends() -> None:
    assert spread(3, 5) == [0, 1, 2]
    assert spread(10, 4) == [0, 3, 6, 9]


def test_a_fit_has_another_key_with_sensitivities_whoever_was_asked_first(graph: ModelGraph, tmp_path: Path) -> None:
    """Codecs that use the same of a tensor share the text of it; others do not."""
    kept = KeptFits(
        results=results_here(Store(tmp_path), threads=1),
        input_block=InputSpec(kind="tensor"),
        data_sha256="calibration",
        seed=0,
    )
    inputs = {"calibration": list(RNG.normal(size=(6, 1, 3, 8, 8)).astype(np.float32))}
    (cut,) = (cut for cut in enumerate_cuts(graph).cuts if cut.tensors == ("r2",))
    with NetworkRuns(graph, inputs, threads=1, kept=kept) as runs:
        without = {codec.name: runs.fitted_key(cut, codec.name, 0) for codec in (KLTQ, FAST)}
        runs.prepare([cut], [KLTQ])
        keys = {codec.name: runs.fitted_key(cut, codec.name, 0) for codec in (FAST, KLTQ)}
    assert keys[FAST.name] == without[FAST.name]
    assert keys[KLTQ.name] != without[KLTQ.name]
