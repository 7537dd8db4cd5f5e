"""The table of pruned heads: five methods on a small network, what is kept of them, and which are on the front."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from splitpoint.benchmarks import pruning
from splitpoint.benchmarks.cifar import SPEC, stratified_halves
from splitpoint.benchmarks.pruning import METHODS, Bench, Images, Row, norm_importance, on_front
from splitpoint.planner.networks.channel_groups import channel_groups
from splitpoint.planner.store.results import results_here
from splitpoint.planner.store.store import Store
from splitpoint.planner.training.data import TrainingSet
from splitpoint.planner.training.trainer import Trainer
from splitpoint.tests.nets import resnet20

CLASSES = 4


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 24, 3, stride=2), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(24, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, CLASSES),
    ).eval()  # fmt: skip


def bench(folder: Path) -> Bench:
    rng = np.random.default_rng(0)
    pictures, labels = rng.integers(0, 256, (120, 32, 32, 3), np.uint8), np.arange(120) % CLASSES
    training = TrainingSet(content=pictures[:80], labels=labels[:80], spec=SPEC)
    images = Images(training=training, pictures=pictures[80:], labels=labels[80:])
    results = results_here(Store(folder), threads=1)
    trainer = Trainer(data=training, data_sha256=training.sha256(), minutes=0.01, folder=None, results=results)
    return Bench("small", network(), images, ["7"], trainer)


def test_every_method_gives_a_row_and_what_was_made_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "ROUNDS", 2)
    monkeypatch.setattr(pruning, "TRIES", 1)
    monkeypatch.setattr("splitpoint.planner.training.trainer.measure_step_s", lambda *given: 0.05)
    asked: list[Any] = [(method, 0.5, "filters") for method in METHODS]
    asked += [("taylor-trained", 0.0, "filters"), ("taylor", 0.5, "macs")]
    first = bench(tmp_path)
    found = [first.row(*each) for each in asked]
    for method, (row, graph) in zip(METHODS, found, strict=False):
        assert (row.method, row.ratio) == (method, 0.5)
        assert row.filters_share == pytest.approx(0.5, abs=0.11)  # a layer has 16 or 24, and keeps a multiple of 8
        assert row.head_macs_share < 0.7
        assert row.drop_low <= row.drop <= row.drop_high
        assert row.top1 * 20 == pytest.approx(round(row.top1 * 20))  # half of 40 pictures
        assert graph.macs < first.graph.macs
        assert bool(row.steps) == (method == "taylor-trained")
    assert len({graph.sha256 for _, graph in found[:2]}) == 2  # corrected or not
    assert len({graph.sha256 for _, graph in found[3:6]}) == 3
    control = found[5][0]
    assert (control.filters_share, control.head_macs_share) == (1, 1)
    assert control.images == control.steps * 80 > 0
    monkeypatch.setattr(Trainer, "train", None)
    monkeypatch.setattr(pruning, "prune_at", None)
    again = bench(tmp_path)
    assert [again.row(*each)[0] for each in asked] == [row for row, _ in found]
    rows = pruning.timed(again, *zip(*found, strict=True))
    assert all(row.head_s and row.tail_s and row.retest_error is not None for row in rows)
    assert msgspec.convert(msgspec.to_builtins(rows), list[Row]) == rows


def test_halves_share_no_picture_and_have_as_many_of_every_class() -> None:
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(5), 6))
    search, report = stratified_halves(labels)
    assert sorted([*search, *report]) == list(range(30))
    for half in (search, report):
        assert np.bincount(labels[half]).tolist() == [3] * 5


def test_a_point_that_another_beats_in_both_is_not_on_the_front() -> None:
    def row(macs: int, top1: float) -> Row:
        shares = dict.fromkeys(
            ("filters_share", "head_macs_share", "drop", "drop_low", "drop_high", "search_drop"), 0.5
        )
        given: Any = shares | dict.fromkeys(("head_weight_bytes", "head_peak_bytes", "cut_elements"), 1)
        return Row(method="taylor", ratio=0.5, ratio_of="filters", head_macs=macs, top1=top1, **given)

    assert on_front([row(10, 0.5), row(20, 0.6), row(20, 0.5), row(5, 0.4)]) == [True, True, False, True]


def test_norms_of_layers_that_are_added_are_added() -> None:
    module: Any = resnet20(classes=5)
    layers = [name for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)]
    groups = channel_groups(module, layers, torch.zeros(1, 3, 16, 16))
    found = norm_importance(module, groups)
    writers = [module.get_submodule(writer.layer).weight.detach() for writer in groups[0].writers]
    assert len(writers) == 4
    np.testing.assert_allclose(found[groups[0].name], sum(w.abs().sum((1, 2, 3)) for w in writers), rtol=1e-6)


@pytest.mark.parametrize("text", ["1", "-0.1", "3/2"])
def test_ratios_that_leave_nothing_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        pruning.main(["--data", "nowhere", f"--ratios={text}"])
    assert "expected at least 0 and less than 1" in capsys.readouterr().err


def test_a_figure_has_a_curve_for_each_method() -> None:
    def row(method: str, macs: int, drop: float) -> Row:
        shares = dict.fromkeys(
            ("filters_share", "head_macs_share", "top1", "drop_low", "drop_high", "search_drop"), 0.5
        )
        given: Any = shares | dict.fromkeys(("head_weight_bytes", "head_peak_bytes", "cut_elements"), 1)
        made: Any = {"method": method, "ratio": 0.5, "ratio_of": "filters", "head_macs": macs, "drop": drop}
        return Row(**(made | given))

    rows = [row("taylor", 5_000_000, 0.2), row("taylor", 9_000_000, 0.1), row("magnitude", 7_000_000, 0.9)]
    text = pruning.draw(rows, title="net")
    assert [text.count(f">{name}<") for name in ("taylor", "magnitude", "least-squares")] == [1, 1, 0]
    assert text.count("<circle") == 2  # nine tenths of the answers lost is outside the figure
    assert "multiply-adds" in text
    assert "bytes" not in text
