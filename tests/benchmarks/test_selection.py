"""Packed landscapes hold what was recorded, and the simulation of the choice counts what it says."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from splitpoint.benchmarks.recorded import Recorded, load, pack
from splitpoint.benchmarks.selection import METHODS, Method, simulate
from splitpoint.codecs.npz import npz_bytes
from splitpoint.planner.quality.drop_curve import SHARP

INPUTS, CODED = 40, 10


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Two units of random figures."""
    rng = np.random.default_rng(0)
    margin = rng.normal(2, 1, INPUTS).astype(np.float32)
    unsplit = {"outputs": rng.normal(size=(INPUTS, 3)), "labels": np.zeros(INPUTS), "right": margin > 0}
    (tmp_path / "unsplit.npz").write_bytes(npz_bytes({**unsplit, "truth_margin": margin}))
    for place, codec, rates in ((0, "fast", (0, 2)), (3, "raw", (0,)), (4, "none", ())):
        shape = (len(rates), INPUTS)
        margins = margin + rng.normal(size=shape).astype(np.float32)
        figures = {
            "cut": np.array(f"cut{place}"),
            "codec": np.array(codec),
            "rates": np.array(rates, np.uint8),
            "right": margins > 0,
            "truth_margin": margins,
            "divergence": rng.gamma(1, 1, shape).astype(np.float32),
            "payload_bytes": rng.integers(10, 99, (len(rates), CODED)).astype(np.uint32),
        }
        (tmp_path / f"{place:02}-{codec}.npz").write_bytes(npz_bytes(figures))
    return tmp_path


def test_a_packed_landscape_holds_what_was_recorded(units: Path, tmp_path: Path) -> None:
    (tmp_path / "packed").write_bytes(pack(units))
    found = load(tmp_path / "packed")
    with np.load(units / "00-fast.npz") as stored:
        unit = dict(stored)
    with np.load(units / "unsplit.npz") as stored:
        unsplit = stored["truth_margin"]
    assert (found.cut, found.codec) == (("cut0", "cut0", "cut3"), ("fast", "fast", "raw"))
    assert (found.place.tolist(), found.rate.tolist()) == ([0, 0, 3], [0, 2, 0])
    assert (found.right[:2] == unit["right"]).all()
    assert (found.right_unsplit == (unsplit > 0)).all()
    assert (found.lost[0] == found.right_unsplit.astype(int) - unit["right"][0]).all()
    assert found.payload_bytes[:2] == pytest.approx(unit["payload_bytes"].mean(axis=1))
    width = SHARP * np.median(np.abs(unsplit))
    assert found.margin_unsplit == pytest.approx(unsplit / width, rel=1e-6)
    assert found.margin[:2] == pytest.approx(np.clip(unit["truth_margin"] / width, -4, 4), abs=0.126)
    assert np.log2(found.divergence[:2]) == pytest.approx(np.log2(unit["divergence"]), abs=0.26)


def landscape(lost: list[float], size: list[float], inputs: int = 1000) -> Recorded:
    """Candidates that lose these shares, each on other inputs."""
    rng = np.random.default_rng(1)
    right = rng.random((len(lost), inputs)) >= np.array(lost)[:, None]
    margin = np.where(right, 1.0, -1.0)
    return Recorded(
        cut=("c",) * len(lost),
        place=np.zeros(len(lost), np.uint8),
        codec=("fast",) * len(lost),
        rate=np.arange(len(lost), dtype=np.uint8),
        payload_bytes=np.array(size),
        right=right,
        right_unsplit=np.ones(inputs, bool),
        margin=margin,
        margin_unsplit=np.ones(inputs),
        divergence=np.abs(margin - 1) + 1e-3,
    )


def test_raw_counts_are_optimistic_by_what_they_were_chosen_for() -> None:
    many = landscape([0.02] * 60 + [0.0], [*range(60), 100.0])
    found = simulate(many, METHODS["raw counts"], 200, divisions=40)
    assert found["bias_points"] > 1
    assert found["over_limit_share"] > 0.5


def test_every_column_is_what_it_says() -> None:
    two = landscape([0.1, 0.0], [10.0, 30.0])

    def rule(values: tuple[float, float], error: float) -> Method:
        return Method(rule=lambda landscape, searched: (np.array(values), np.full(2, error)))

    truth = 100 * float((~two.right[0]).mean())
    wrong = simulate(two, rule((0.0, 0.0), 0.001), 500, divisions=30)
    assert wrong["bias_points"] == pytest.approx(truth, abs=0.5)
    assert (wrong["over_limit_share"], wrong["coverage"], wrong["half_width"]) == (1.0, 0.0, 0.196)
    assert wrong["bytes_over_oracle"] == pytest.approx(1 / 3, abs=1e-3)
    assert wrong["bytes_over_full_fit"] == 1.0
    right = simulate(two, rule((0.1, 0.0), 0.001), 500, divisions=30)
    assert (right["bias_points"], right["coverage"], right["bytes_over_oracle"]) == (0.0, 1.0, 1.0)
    wide = simulate(two, rule((0.0, 0.0), 0.06), 500, divisions=30)
    assert wide["coverage"] == 1.0
    cautious = simulate(two, dataclasses.replace(rule((0.0, -1.0), 0.02), errors=1.96), 500, divisions=30)
    assert cautious["bytes_over_oracle"] == 1.0
