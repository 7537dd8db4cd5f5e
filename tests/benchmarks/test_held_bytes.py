"""Which candidate benchmarks/held_bytes.py chooses, on which pictures it is chosen, and what is counted of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from splitpoint.benchmarks.codec_networks import Network
from splitpoint.benchmarks.held_bytes import (
    CODECS,
    FOLDS,
    Candidates,
    Choice,
    Name,
    choose,
    divisions,
    judge_choices,
    measure_unit,
    measured_folds,
    recorded_folds,
    summary,
)
from splitpoint.benchmarks.recorded import Recorded

PICTURES = 300
SHIFTS = np.array([2.0, 0.6, 0.2, 0.05, 0.01, 0.001])  # by which margins shrink, in deviations
SIZES = np.array([100.0, 200, 300, 400, 500, 600])
EVERYTHING = np.ones(len(SIZES), bool)


@pytest.fixture
def seen() -> Candidates:
    """Six candidates, cheapest first, that lose less the more they cost."""
    rng = np.random.default_rng(0)
    unsplit = rng.normal(2.0, 1.0, PICTURES)
    margin = unsplit - SHIFTS[:, None] * np.abs(rng.normal(1, 0.3, (len(SHIFTS), PICTURES)))
    return Candidates(
        lost=(unsplit > 0) - (margin > 0).astype(float),
        margin=margin,
        margin_unsplit=unsplit,
        divergence=np.repeat(SHIFTS[:, None] ** 2, PICTURES, axis=1),
        payload_bytes=np.repeat(SIZES[:, None], PICTURES, axis=1),
    )


def test_the_cheapest_candidate_within_the_limit_is_chosen(seen: Candidates) -> None:
    chosen = choose(seen, EVERYTHING, limit=0.02, confident=False)
    assert chosen.kept
    assert chosen.low < chosen.drop <= 0.02
    cheaper = EVERYTHING & (np.arange(len(SIZES)) < chosen.place)
    assert cheaper.any()
    assert choose(seen, cheaper, limit=0.02, confident=False).drop > 0.02


def test_the_upper_end_of_the_interval_binds_when_confident(seen: Candidates) -> None:
    plain, sure = (choose(seen, EVERYTHING, limit=0.02, confident=c) for c in (False, True))
    assert plain.high > 0.02 >= sure.high
    assert SIZES[sure.place] > SIZES[plain.place]


def test_a_cut_that_cannot_be_used_is_not_chosen(seen: Candidates) -> None:
    best = choose(seen, EVERYTHING, limit=0.02, confident=False).place
    usable = np.arange(len(SIZES)) != best
    assert choose(seen, usable, limit=0.02, confident=False).place == best + 1


def test_where_none_keeps_the_limit_the_one_that_loses_least_is_judged(seen: Candidates) -> None:
    chosen = choose(seen, np.arange(len(SIZES)) < 2, limit=0.001, confident=False)
    assert (chosen.place, chosen.kept) == (1, False)


def test_a_summary_counts_pictures_lost_and_won() -> None:
    lost = np.zeros(500)
    lost[:9], lost[9:12] = 1, -1
    choices = [Choice(0, 0.01, -0.01, 0.03, True), Choice(1, 0.02, 0.0, 0.04, False)]
    found = summary(choices, lost, np.full(500, 777.0))
    assert (found["payload_bytes"], found["lost_points"], found["kept_in_folds"]) == (777, 1.2, 1)
    assert found["lost_low_points"] < 1.2 < found["lost_high_points"]
    assert [found[f"printed{end}_points"] for end in ("", "_low", "_high")] == [1.5, -0.5, 3.5]


def test_a_choice_is_judged_on_pictures_that_it_did_not_see() -> None:
    count = 500
    rng = np.random.default_rng(0)
    truth = np.zeros(count, np.int64)
    logits = np.stack([rng.uniform(1, 3, count), np.zeros(count)], axis=1)
    names = [Name("a", 24.4, codec, f"q{i}") for codec in CODECS for i in range(2)]
    units = []
    for _, chosen_on, held_out in divisions(count):
        unit = np.full((2, count, 3 + len(CODECS)), np.nan)
        unit[:, :, 0], unit[:, :, 1], unit[:, :, 2] = 0, logits[:, 0], 1e-6
        unit[:, :, 3:] = np.array([[100, 110], [200, 210]])[:, None]
        unit[0, chosen_on[:20], :3] = 1, -1, 5.0  # 10 points lost: the coarse rate is not taken
        unit[1, held_out[:7], :3] = 1, -1, 5.0  # what the choice cannot know of the fine one
        units.append(unit)
    parts = measured_folds([units], logits, truth)
    rows = judge_choices(parts, names, limit=0.01)
    assert [(row["share_at_most"], row["rule"]) for row in rows][:2] == [(25, "plan"), (25, "plan --confident")]
    for row in rows:
        assert row["chosen"] == [f"a (24.4 %), {CODECS[0]} q1"] * FOLDS
        assert (row["payload_bytes"], row["lost_points"]) == (200, 7.0)
        assert row["printed_points"] == pytest.approx(0, abs=0.05)
    assert judge_choices(parts, [name._replace(share=87.6) for name in names], limit=0.01) == []


@pytest.mark.parametrize("fitted", [1, 2, 3])
def test_every_picture_is_counted_once_by_a_choice_that_saw_none_of_it(fitted: int) -> None:
    counted = []
    for fit, chosen_on, held_out in divisions(500, fitted):
        assert (len(fit), len(chosen_on), len(held_out)) == (100 * fitted, 400 - 100 * fitted, 100)
        assert len(np.unique(np.concatenate([fit, chosen_on, held_out]))) == 500
        counted.append(held_out)
    assert len(np.unique(np.concatenate(counted))) == 500


def test_a_unit_holds_the_pictures_that_were_not_fitted_to() -> None:
    torch.manual_seed(0)
    stages = (torch.nn.Conv2d(3, 8, 3), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8 * 16, 6)))
    network = Network(name="small", stages=stages, names=("input", "conv", "logits"))
    x = np.random.default_rng(0).normal(size=(20, 3, 6, 6)).astype(np.float32)
    activations = network.forward(x, 0, 1)
    logits = network.forward(activations, 1, 2)
    [coarse, fine] = measure_unit(network, 1, (0, 13), 0, activations, logits, np.zeros(20, np.int64))
    fit, chosen_on, held_out = next(divisions(20))
    assert np.isnan(coarse[fit]).all()
    others = np.concatenate([chosen_on, held_out])
    assert 0 <= fine[others, 2].min() <= fine[others, 2].mean() < 0.1 * coarse[others, 2].mean()
    assert (fine[others, 0] == logits[others].argmax(axis=1)).mean() > 0.9
    assert (fine[others, 3:].mean(axis=0) > coarse[others, 3:].mean(axis=0)).all()
    assert np.isfinite(fine[others]).all()


def test_recorded_inputs_are_judged_once_by_a_choice_on_all_others() -> None:
    rng = np.random.default_rng(0)
    count = 50
    landscape = Recorded(
        cut=("a", "b"),
        place=np.array([0, 1], np.uint8),
        codec=("fast", "raw"),
        rate=np.zeros(2, np.uint8),
        payload_bytes=np.array([7.0, 9.0]),
        right=rng.random((2, count)) < 0.8,
        right_unsplit=np.ones(count, bool),
        margin=rng.normal(size=(2, count)),
        margin_unsplit=np.arange(count, dtype=float),
        divergence=rng.random((2, count)),
    )
    parts = recorded_folds(landscape)
    for seen, unseen in parts:
        assert sorted([*seen.margin_unsplit, *unseen.margin_unsplit]) == list(range(count))
        assert (unseen.lost == landscape.lost[:, unseen.margin_unsplit.astype(int)]).all()
        assert (seen.payload_bytes.mean(axis=1) == [7, 9]).all()
    assert sorted(np.concatenate([unseen.margin_unsplit for _, unseen in parts])) == list(range(count))
