"""Quantization tables fitted to a network: from its calibration set alone, kept, and better than the standard's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.parser
import pytest

from splitpoint.codecs.contract.protocol import FitError
from splitpoint.codecs.pictures.picture import PICTURES, Picture, PictureCodec
from splitpoint.codecs.pictures.quant_tables import STANDARD
from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.coding import context
from splitpoint.planner.coding.kept import KeptFits
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.kept import KeptOutcomes
from splitpoint.planner.store.results import Results, results_here
from splitpoint.planner.store.store import Store
from splitpoint.planner.values.candidate import Candidate
from splitpoint.planner.values.outcomes import Outcomes
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec, preprocess
from splitpoint.profiles.network.model import ModelGraph

Array = np.ndarray[Any, Any]
SPEC = InputSpec(size=16, mean=127.0, std=64.0)
NAME = "jpeg-task"
MODEL = """
<ir_version: 9, opset_import: ["" : 17]>
net (TYPE[1,3,16,16] x) => (float[1,5] scores) {
    FIRST
    c = Conv <pads = [1, 1, 1, 1]> (f, w)
    a = NONLINEARITY (c)
    p = GlobalAveragePool (a)
    flat = Flatten (p)
    scores = Gemm (flat, v)
}
"""


def network(nonlinearity: str = "Relu", dtype: str = "float") -> ModelGraph:
    first = "f = Identity (x)" if dtype == "float" else "f = Cast <to = 1> (x)"
    text = MODEL.replace("NONLINEARITY", nonlinearity).replace("TYPE", dtype).replace("FIRST", first)
    proto, rng = onnx.parser.parse_model(text), np.random.default_rng(1)
    for name, shape in {"w": (8, 3, 3, 3), "v": (8, 5)}.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    return load_graph(proto.SerializeToString())


def pictures(seed: int, count: int = 8) -> list[Picture]:
    noise = np.random.default_rng(seed).normal(size=(count, 16, 16, 3)).cumsum(axis=1).cumsum(axis=2)
    return [np.asarray(np.clip(128 + 8 * row, 0, 255), np.uint8) for row in noise]


def runs(graph: ModelGraph, *, calibration: int = 0, search: int = 1, results: Results | None = None) -> NetworkRuns:
    sets = {
        name: [preprocess(p, SPEC) if graph.inputs[0].dtype == "float32" else p.transpose(2, 0, 1)[None] for p in shown]
        for name, shown in (("calibration", pictures(calibration)), ("search", pictures(search)))
    }
    kept = (
        None if results is None else KeptFits(results=results, input_block=SPEC, data_sha256=str(calibration), seed=0)
    )
    return NetworkRuns(graph, sets, threads=1, kept=kept)


def divergence(graph: ModelGraph, codec: PictureCodec, rate: int, shown: Sequence[Picture]) -> tuple[float, float]:
    """Mean bytes, and KL(unsplit || sent) of the answers."""
    sizes, found = [], []
    with runs(graph) as own:
        for picture in shown:
            data = codec.encode(picture, rate)
            sizes.append(len(data))
            logs = []
            for each in (picture, codec.decode(data, (16, 16))):
                (scores,) = own.whole(preprocess(each, SPEC))
                logs.append(scores.ravel() - np.log(np.exp(scores.astype(np.float64)).sum()))
            found.append(float((np.exp(logs[0]) * (logs[0] - logs[1])).sum()))
    return float(np.mean(sizes)), float(np.mean(found))


def test_tables_come_from_the_calibration_set_alone() -> None:
    graph = network()
    found = []
    for calibration, search in ((0, 1), (0, 2), (3, 1)):
        with runs(graph, calibration=calibration, search=search) as own:
            assert own.prepare_pictures(SPEC) == {}
            found.append(own.picture_codec(NAME, SPEC).tables)
    assert found[0] == found[1] != found[2]
    assert STANDARD not in found
    with runs(graph) as own:
        assert own.picture_codec("jpeg", SPEC) is PICTURES["jpeg"]


def test_the_tables_are_the_same_whatever_was_prepared_before() -> None:
    graph = network()
    cuts = [cut for cut in enumerate_cuts(graph).cuts if not cut.head]
    with runs(graph) as own:
        expected = own.picture_codec(NAME, SPEC)
    with runs(graph) as own:
        own.prepare(cuts, [REGISTRY["kltq-rans"]])
        assert own.picture_codec(NAME, SPEC) == expected


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (network(dtype="uint8"), "needs gradients: the network takes uint8"),
        (network("Shrink"), "needs gradients: .*Shrink"),
    ],
    ids=["uint8", "no gradient"],
)
def test_a_network_without_gradients_has_none_and_says_why(graph: ModelGraph, reason: str) -> None:
    with runs(graph) as own:
        (lacking,) = own.prepare_pictures(SPEC).items()
        assert lacking[0] == NAME
        with pytest.raises(FitError, match=reason):
            own.picture_codec(NAME, SPEC)
        assert own.picture_codec("webp", SPEC) is PICTURES["webp"]


def test_without_torch_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(graph: ModelGraph) -> Any:
        raise ModuleNotFoundError("No module named 'torch'")

    monkeypatch.setattr(context, "torch_graph", missing)
    with runs(network()) as own:
        assert own.prepare_pictures(SPEC) == {NAME: "needs gradients: there is no torch"}


def test_gradients_are_kept_between_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, results = network(), results_here(Store(tmp_path), threads=1)
    with runs(graph, results=results) as own:
        expected = own.picture_codec(NAME, SPEC)
    monkeypatch.setattr(context, "gradients_torch", lambda *args, **kwargs: pytest.fail("computed again"))
    with runs(graph, results=results) as own:
        assert own.picture_codec(NAME, SPEC) == expected


def test_outcomes_are_kept_by_the_tables(tmp_path: Path) -> None:
    """Of the same pictures with tables from other calibration pictures they are others."""
    graph, results = network(), results_here(Store(tmp_path), threads=1)
    asked = Candidate(variant="given", placement="server", cut="", codec=NAME, rate=3)
    kept = KeptOutcomes(
        results=results,
        model_sha256=graph.sha256,
        reference_sha256=graph.sha256,
        input_block=SPEC,
        data_sha256="",
        subset="search",
        task=Task(name="tensor"),
        against="unsplit",
    )

    def outcomes() -> Outcomes:
        return Outcomes(subset="search", indices=(), inputs=(), payload_bytes=())

    recalled = []
    for calibration in (0, 0, 3):
        with runs(graph, calibration=calibration) as own:
            recalled.append(kept.get(own, lambda name: pytest.fail("no cut"), asked, [], outcomes)[1])
    assert recalled == [False, True, False]


def test_it_takes_fewer_bytes_than_jpeg_at_equal_divergence() -> None:
    """On pictures that the tables were not fitted to."""
    graph, shown = network(), pictures(9, 40)
    with runs(graph) as own:
        fitted = own.picture_codec(NAME, SPEC)
    new, old = ([divergence(graph, codec, rate, shown) for rate in (3, 5, 7)] for codec in (fitted, PICTURES["jpeg"]))
    grid = np.log(np.geomspace(max(new[-1][1], old[-1][1]), min(new[0][1], old[0][1]), 8))
    sizes = [np.interp(grid, *np.log(np.array(curve)[::-1, ::-1]).T) for curve in (new, old)]
    assert float(np.expm1((sizes[0] - sizes[1]).mean())) < -0.03
    assert dataclasses.replace(fitted, tables=STANDARD) == PICTURES[NAME]
