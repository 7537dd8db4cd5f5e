"""The rules of benchmarks/codecs.py: which pictures fit, choose and are reported; and that its figures are drawn."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from splitpoint.benchmarks.codec_folds import FOLDS, Curve, folds, measure_codec, report
from splitpoint.benchmarks.codec_networks import Network
from splitpoint.benchmarks.figure import curves


def test_every_image_is_reported_once_by_a_fold_that_neither_fitted_nor_chose_with_it() -> None:
    reported = []
    for fit, choose, held_out in folds(500):
        assert (len(fit), len(choose), len(held_out)) == (100, 300, 100)
        assert len(np.unique(np.concatenate([fit, choose, held_out]))) == 500
        reported.append(held_out)
    assert len(np.unique(np.concatenate(reported))) == 500


def test_the_cheapest_rate_within_a_point_is_chosen_without_the_report_set() -> None:
    truth = np.zeros(500, np.int64)
    exact = truth.copy()
    exact[:50] = 1  # wrong before and after
    predictions = np.repeat(np.repeat(exact[None, None], 3, axis=0), FOLDS, axis=1)
    lengths = np.zeros((3, FOLDS, 500), np.int64) + np.array([100, 200, 300])[:, None, None]
    for fold, (_, choose, held_out) in enumerate(folds(500)):
        right = choose[exact[choose] == 0]
        predictions[0, fold, right[:30]] = 2  # 10 points lost: too coarse
        predictions[1, fold, right[:3]] = 2  # one point lost: taken
        predictions[1, fold, held_out[exact[held_out] == 0][:5]] = 2  # what the report set then shows
    curve = Curve(
        codec="c", cut="k", labels=("q1", "q2", "q3"), lengths=lengths, predictions=predictions, side_bytes=(1, 1, 1)
    )
    result = report(curve, truth, exact)
    assert result["chosen"]["rates"] == ["q2"] * FOLDS
    assert result["chosen"]["bytes"] == 200
    assert result["chosen"]["drop_points"] == 5.0
    assert result["chosen"]["drop_low"] < 5.0 < result["chosen"]["drop_high"]
    assert [point["drop_points"] for point in result["curve"]] == [0.0, 5.0, 0.0]
    assert result["chosen"]["agreement"] == 0.95


def test_figures_are_well_formed_and_cut_at_their_range() -> None:
    series = {"a <b>": [(100.0, 1.0), (1000.0, 0.5), (5000.0, 99.0)], "c": [(300.0, 2.0)]}
    root = ElementTree.fromstring(curves(series, title="t & u", y_label="drop", y_range=(0, 10)))
    circles = root.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 3
    texts = [node.text for node in root.findall(".//{http://www.w3.org/2000/svg}text")]
    assert {"t & u", "drop", "a <b>", "c"} <= set(texts)


@pytest.mark.parametrize(("name", "times"), [("lossy-tiles-jpeg", 1), ("brito-tcq", FOLDS - 1)])
def test_a_codec_that_is_fitted_to_nothing_codes_a_picture_once_and_others_in_every_fold(
    name: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    stages = (torch.nn.Identity(), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 3)))
    network = Network(name="n", stages=stages, names=("input", "a", "b"))
    activations = np.random.default_rng(0).standard_normal((20, 4, 8, 8)).astype(np.float32)
    counted: list[int] = []
    tail = Network.tail

    def count(self: Network, x: NDArray[Any], cut: int) -> NDArray[Any]:
        counted.append(len(x))
        return tail(self, x, cut)

    monkeypatch.setattr(Network, "tail", count)
    [curve] = measure_codec(network, 1, [name], activations, rates=lambda _: [2], layer_input=None, say=lambda _: None)
    assert sum(counted) == 20 * times
    for fold, (fit, choose, held_out) in enumerate(folds(20)):
        others = np.concatenate([choose, held_out])
        assert (curve.lengths[0, fold, others] > 0).all()
        assert (curve.predictions[0, fold, others] >= 0).all()
        assert (curve.lengths[0, fold, fit] == -1).all()
