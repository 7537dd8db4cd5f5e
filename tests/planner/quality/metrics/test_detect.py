"""F1 of boxes by hand, what counts as an answer, and sets of which nothing can be measured."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.accuracy import Accuracy, Figure
from splitpoint.planner.deploy.requirements import Bound
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.accuracy import judge
from splitpoint.planner.quality.detection.boxes import Boxes
from splitpoint.planner.quality.metrics.detect import MAP_50, MAP_ALL, Detect, make_detect
from splitpoint.planner.quality.metrics.registry import settle_task
from splitpoint.planner.quality.observe import observe
from splitpoint.planner.samples.dataset import Sample
from splitpoint.planner.values.outcomes import InputOutcome, Outcomes
from splitpoint.profiles.errors import ProfileError

ROWS = 12  # of the table of boxes
OUTPUTS = [IOTensor(name="dets", shape=(1, ROWS, 6), dtype="float32")]


def metric(against: Literal["labels", "unsplit"] = "unsplit", **options: object) -> Detect:
    task = Task(name="detect", decode="nms", **options)  # type: ignore[arg-type]
    return make_detect(task, OUTPUTS, against, (1, 3, 100, 100))


def output(*boxes: tuple[float, float, int]) -> dict[str, Array]:
    """Boxes of 10x10 at (x, 50), each with its score and class."""
    table = np.zeros((1, ROWS, 6), np.float32)
    for i, (x, score, name) in enumerate(boxes):
        table[0, i] = [x, 50, x + 10, 60, score, name]
    return {"dets": table}


def sample(*boxes: tuple[float, int, int], group: str = "a") -> Sample:
    """A picture labelled with boxes at x, each with its class and whether it is a crowd."""
    rows = [[x, 50, x + 10, 60, name, crowd] for x, name, crowd in boxes]
    truth = np.array(rows, np.float64).reshape(-1, 6)
    return Sample(name="a.png", group=group, tensor=np.zeros((1, 1), np.float32), truth=truth)


WHOLE = output((10, 0.9, 0), (30, 0.8, 1), (50, 0.35, 0), (70, 0.2, 0))  # three boxes count


@pytest.mark.parametrize(
    ("candidate", "counts"),
    [
        (WHOLE, (3, 3, 3)),
        (output((11, 0.5, 0), (30, 0.8, 1), (50, 0.29, 0)), (2, 2, 3)),  # one fell below the score
        (output((10, 0.9, 0), (30, 0.8, 1), (50, 0.35, 0), (70, 0.31, 0)), (3, 4, 3)),  # one rose above it
        (output((10, 0.9, 0), (30, 0.8, 0), (50, 0.35, 0)), (2, 3, 3)),  # another class
        (output((14, 0.9, 0), (30, 0.8, 1), (50, 0.35, 0)), (2, 3, 3)),  # moved by 4 of 10: IoU 0.43
        (output((10, 0.9, 0), (11, 0.8, 0), (30, 0.8, 1), (50, 0.35, 0)), (3, 4, 3)),  # twice
        (output(), (0, 0, 3)),
    ],
)
def test_counts_by_hand(candidate: dict[str, Boxes], counts: tuple[int, ...]) -> None:
    used = metric()
    row = observe(used, candidate, WHOLE, sample())
    assert row.counts == counts
    assert row.unsplit_counts == (3, 3, 3)
    right, found, true = counts
    assert used.value(np.array([*counts, 1.0])) == pytest.approx(2 * right / (found + true))


def test_a_score_at_the_threshold_counts() -> None:
    used = metric(score=0.5)
    assert observe(used, WHOLE, WHOLE, sample()).counts == (2, 2, 2)
    assert observe(used, output((10, 0.5, 0)), output((10, 0.5, 0)), sample()).counts == (1, 1, 1)


def test_labels_are_the_truth_where_there_are_some() -> None:
    used = metric("labels")
    row = observe(used, WHOLE, WHOLE, sample((10, 0, 0), (50, 0, 0), (90, 2, 0)))
    assert row.counts == (2, 3, 3)
    assert row.unsplit_counts == row.counts


def test_a_crowd_counts_neither_way() -> None:
    used = metric("labels")
    assert observe(used, WHOLE, WHOLE, sample((10, 0, 0), (30, 1, 1), (50, 0, 0))).counts == (2, 2, 2)


def test_what_is_not_finite_is_the_worst_answer() -> None:
    used = metric()
    broken = {"dets": np.full((1, ROWS, 6), np.nan, np.float32)}
    row = observe(used, broken, WHOLE, sample())
    assert row.counts == (0, 3, 3)
    assert row.matches is not None
    assert row.matches.scores == ()
    assert observe(used, broken, output((70, 0.1, 0)), sample()).counts == (0, 1, 0)  # and not right by finding nothing


def test_pictures_without_boxes_are_right_when_nothing_is_found() -> None:
    used = metric()
    nothing = output((70, 0.1, 0))
    rows = [observe(used, y, y0, sample()) for y, y0 in ((WHOLE, WHOLE), (nothing, nothing), (WHOLE, nothing))]
    assert [row.counts for row in rows] == [(3, 3, 3), (0, 0, 0), (0, 3, 0)]
    found = judged(used, rows)
    assert found.value == pytest.approx(6 / 9)
    assert judged(used, rows[:2]).value == 1
    assert used.value(np.array([0.0, 0.0, 0.0, 2.0])) == 1  # such as a resampled set of empty pictures


def judged(
    used: Detect, rows: list[InputOutcome], subset: Literal["search", "report"] = "report", *, shown: bool = False
) -> Accuracy:
    outcomes = Outcomes(subset=subset, inputs=tuple(rows), payload_bytes=(1,) * len(rows))
    return judge(outcomes, used, shown=shown)


def some_rows(used: Detect) -> list[InputOutcome]:
    """Eight pictures; in two of them a box is lost."""
    lost = output((10, 0.9, 0), (30, 0.8, 1))
    return [observe(used, lost if i < 2 else WHOLE, WHOLE, sample(group=str(i))) for i in range(8)]


def test_the_other_figures_are_mean_average_precision() -> None:
    found = judged(metric(), some_rows(metric()), shown=True)
    at_50, searched = figure(found, MAP_50), figure(judged(metric(), some_rows(metric())), MAP_50)
    # Class 0: 16 true boxes, 14 found before any wrong one: precision 1 up to recall 87 of 100. Class 1: all.
    assert at_50.value == pytest.approx((88 / 101 + 1) / 2)
    assert at_50.drop == pytest.approx(1 - (88 / 101 + 1) / 2)
    assert at_50.low is not None
    assert at_50.high is not None
    assert at_50.low < at_50.value < at_50.high
    assert figure(found, MAP_ALL).value == pytest.approx(at_50.value)
    assert searched.value == pytest.approx(at_50.value)
    assert searched.low is None


def figure(found: Accuracy, name: str) -> Figure:
    got = found.figure(name)
    assert got is not None
    return got


def test_the_floors_and_the_definition() -> None:
    used = metric(score=0.4, nms=0.6)
    assert used.floors == (Bound(limit=MAP_50, value=0.9),)
    assert metric("labels").floors == ()
    assert metric("labels").figures == (MAP_50,)
    assert all(text in used.use.definition for text in ("score >= 0.4", "IoU 0.6", "decoded by nms", "unsplit network"))


def test_a_set_without_any_box_is_refused() -> None:
    used = metric()
    with pytest.raises(ProfileError, match=r"finds no box of score >= 0.3 in any of 2 inputs") as caught:
        used.prepare(used.truth(used.answer(output((10, 0.2, 0)))) for _ in range(2))
    assert "--score" in str(caught.value.fix)
    labelled = metric("labels")
    with pytest.raises(ProfileError, match="none of 1 pictures of a set has a labelled box"):
        labelled.prepare([labelled.label(sample((10, 0, 1)))])  # a crowd alone
    assert labelled.prepare([labelled.label(sample((10, 0, 0)))]) is labelled


def test_scores_that_are_no_probabilities_are_refused() -> None:
    used = metric()
    with pytest.raises(ProfileError, match=r"scores up to 7, expected 0\.\.1") as caught:
        used.truth_of(sample(), used.answer(output((10, 7.0, 0))))
    assert "sigmoid" in str(caught.value.fix)
    with pytest.raises(ProfileError, match="not finite"):
        used.truth_of(sample(), None)


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (np.zeros((2, 4)), "compares with boxes"),
        (np.zeros((2, 6), np.int64), "compares with boxes"),
        (None, "compares with boxes"),
        (np.full((1, 6), np.nan), "not finite"),
        (np.array([[0, 0, 1, 1, 0.5, 0]]), "no index"),
        (np.array([[0, 0, 1, 1, -1.0, 0]]), "no index"),
    ],
)
def test_labels_that_are_no_boxes_are_refused(truth: Boxes | None, message: str) -> None:
    bad = Sample(name="a.png", group="a", tensor=np.zeros((1, 1), np.float32), truth=truth)
    with pytest.raises(ProfileError, match=message) as caught:
        metric("labels").label(bad)
    assert caught.value.at == "a.png"


def test_a_class_that_the_network_does_not_have_is_refused() -> None:
    outputs = [IOTensor(name="y", shape=(1, 7, 50), dtype="float32")]
    used = make_detect(Task(name="detect", decode="yolov8"), outputs, "labels", (1, 3, 64, 64))
    assert len(used.label(sample((10, 2, 0)))) == 1
    with pytest.raises(ProfileError, match=r"class 3, and the network has 3"):
        used.label(sample((10, 3, 0)))


def test_paths_of_the_users_own_files_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    task = Task(name="detect", decode="mine.py:boxes", anchors="a/anchors.npy")
    settled = settle_task(task, [], [], (1, 3, 8, 8))
    assert (settled.decode, settled.anchors) == (f"{tmp_path}/mine.py:boxes", f"{tmp_path}/a/anchors.npy")
    plain = Task(name="detect", decode="yolox")
    assert settle_task(plain, [], [], (1, 3, 8, 8)) == plain
