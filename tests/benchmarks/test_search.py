"""The benchmark of the search: what is scored, what a method may run, and what a recorded candidate costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitpoint.benchmarks import latencies, search
from splitpoint.benchmarks.recorded import load as load_recorded
from splitpoint.benchmarks.recorded import pack
from splitpoint.benchmarks.replay import LIMITS, Priced
from splitpoint.codecs.npz import npz_bytes
from splitpoint.planner.search.pareto import hypervolume, pareto
from splitpoint.planner.values.candidate import Candidate

CUTS, CODECS, RATES, INPUTS = 6, 5, 8, 200


@pytest.fixture
def priced() -> Priced:
    """Losses rise as bytes fall; cuts and codecs differ in both."""
    rng = np.random.default_rng(0)
    cut, codec, rate = (axis.ravel() for axis in np.meshgrid(*map(np.arange, (CUTS, CODECS, RATES)), indexing="ij"))
    level = 0.2 * rng.uniform(0.3, 2, CODECS)[codec] * 0.4**rate
    divergence = level[:, None] * rng.gamma(2, 1, (len(level), INPUTS))
    margin_unsplit = rng.normal(2, 2, INPUTS)
    margin = margin_unsplit - 3 * divergence * rng.normal(0.3, 1, divergence.shape)
    return Priced(
        candidates=tuple(
            Candidate(variant="given", placement="split", cut=str(a), codec=str(b), rate=int(c))
            for a, b, c in zip(cut, codec, rate, strict=True)
        ),
        latency_s=0.05 + 0.02 * cut + 0.01 * rng.uniform(0, 1, CODECS)[codec],
        device_s=0.2,
        payload_bytes=np.rint(20_000 * 0.6**cut * 1.5 ** (rate - RATES) * rng.uniform(0.7, 1.4, CODECS)[codec]),
        most_bytes=30_000,
        right=margin > 0,
        right_unsplit=margin_unsplit > 0,
        divergence=divergence,
        margin=margin,
        margin_unsplit=margin_unsplit,
    )


def test_all_that_can_be_known_has_the_whole_hypervolume_and_nothing_has_none(priced: Priced) -> None:
    everything = np.ones(priced.right.shape, bool)
    truth = priced.drops(everything)
    rows = priced.objectives(truth)
    best = hypervolume(rows[pareto(rows)], priced.reference)
    assert best > 0
    assert search.score(priced, everything, truth) == pytest.approx(best)
    assert search.score(priced, ~everything, truth) == 0.0
    few = np.zeros_like(everything)
    few[:, : int(search.LEAST_MEASURED * INPUTS) - 1] = True  # too few inputs to be returned
    assert search.score(priced, few, truth) == 0.0


def test_only_so_many_are_returned(priced: Priced, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = np.ones(priced.right.shape, bool)
    truth = priced.drops(everything)
    scores = []
    for most in (1, 5, 200):
        monkeypatch.setattr(search, "MOST_RETURNED", most)
        scores.append(search.score(priced, everything, truth))
    assert scores == sorted(scores)
    assert scores[0] < scores[-1]


@pytest.mark.parametrize("method", search.METHODS)
def test_a_method_runs_no_more_than_it_may_and_the_race_finds_the_most(priced: Priced, method: str) -> None:
    def run(name: str) -> dict[str, Any]:
        rows = search.simulate(priced, "made", seeds=1, methods=[name], say=lambda text: None)
        assert [set(row) for row in rows] == [
            {"landscape", "method", "seed", "inference_share", "hypervolume_share"} for _ in search.SHARES
        ]
        return rows[-1]

    found = run(method)
    assert 0 < found["inference_share"] <= 0.1
    assert found["hypervolume_share"] <= 1 + 1e-9
    assert run("race")["hypervolume_share"] >= found["hypervolume_share"]
    assert found == run(method)


def test_a_recorded_candidate_costs_its_codec_and_its_bytes_over_the_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    margin = np.array([1.0, -1.0], np.float32)
    (tmp_path / "unsplit.npz").write_bytes(npz_bytes({"right": margin > 0, "truth_margin": margin}))
    unit = {
        "cut": np.array("c"),
        "codec": np.array("fast"),
        "rates": np.array([1, 4], np.uint8),
        "right": np.array([[True, False], [True, True]]),
        "truth_margin": np.stack([margin, -margin]),
        "divergence": np.ones((2, 2), np.float32),
        "payload_bytes": np.array([[1000], [2000]], np.uint32),
    }
    (tmp_path / "00-fast.npz").write_bytes(npz_bytes(unit))
    (tmp_path / "landscape-x.npz").write_bytes(pack(tmp_path))
    costs = {"device_s": 0.5, "picture_bytes": 3072, "units": [{"cut": "c", "codec": "fast", "computing_s": 0.125}]}
    (tmp_path / "latencies-x.json").write_text(json.dumps(costs))
    monkeypatch.setattr(latencies, "RESULTS", tmp_path)
    found = latencies.load("x")
    assert [(c.cut, c.codec, c.rate) for c in found.candidates] == [("c", "fast", 1), ("c", "fast", 4)]
    assert (found.device_s, found.most_bytes) == (0.5, 3072)
    link = found.latency_s - 0.125
    bits = 8 * 1000
    assert link[1] - link[0] == pytest.approx(bits / 5e6, rel=0.25)  # LTE Cat 1: 5 Mbit/s, and headers
    assert (found.right == load_recorded(tmp_path / "landscape-x.npz").right).all()
    assert found.reference.tolist() == pytest.approx([np.log10(LIMITS["latency"]), np.log10(3072), LIMITS["drop"]])
