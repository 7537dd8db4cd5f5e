"""Matching and mean average precision equal pycocotools', on random boxes with ties, crowds and empty pictures."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from splitpoint.planner.quality.detection.boxes import Boxes
from splitpoint.planner.quality.detection.coco import coco_precision
from splitpoint.planner.quality.detection.matching import THRESHOLDS, box_distance, match_boxes
from splitpoint.planner.quality.detection.mean_precision import mean_precision, mean_precision_interval

SUMMED = 1e-12  # the mean of the same numbers in another order

Picture = tuple[Boxes, Boxes]  # found, true


def boxes(rng: np.random.Generator, count: int, grid: int) -> Boxes:
    """Whole numbers on a coarse grid: overlaps and their ties are common."""
    corner = rng.integers(0, grid, (count, 2))
    return np.concatenate([corner, corner + rng.integers(1, grid, (count, 2))], axis=1).astype(np.float64)


def picture(rng: np.random.Generator, classes: int, most: int, grid: int) -> Picture:
    """Some true boxes, a fifth of them crowds; found ones at random, and near true ones; few different scores."""
    true = boxes(rng, int(rng.integers(0, 8)), grid)
    names, crowd = rng.integers(0, classes, len(true)), rng.random(len(true)) < 0.2
    near = true + rng.integers(-1, 2, true.shape)
    near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
    found = np.concatenate([boxes(rng, int(rng.integers(0, most + 1)), grid), near])
    found_names = np.concatenate([rng.integers(0, classes, len(found) - len(near)), names])
    scores = rng.integers(1, 20, len(found)) / 20
    return np.column_stack([found, scores, found_names]), np.column_stack([true, names, crowd])


def reference(pictures: list[Picture], classes: int) -> list[float]:
    """mAP at each IoU threshold, all of it by pycocotools, from the boxes themselves."""

    def size(row: Boxes) -> list[float]:
        return [row[0], row[1], row[2] - row[0], row[3] - row[1]]

    truths: list[dict[str, Any]] = []
    for number, (_, true) in enumerate(pictures):
        for row in true:
            box = size(row)
            place = {"id": len(truths) + 1, "image_id": number, "category_id": int(row[4])}
            truths.append(place | {"bbox": box, "area": box[2] * box[3], "iscrowd": int(row[5])})
    rows = [[i, *size(row), row[4], row[5]] for i, (found, _) in enumerate(pictures) for row in found]
    with contextlib.redirect_stdout(io.StringIO()):
        true_set = COCO()
        images, categories = ([{"id": i} for i in range(n)] for n in (len(pictures), classes))
        true_set.dataset = {"images": images, "annotations": truths, "categories": categories}
        true_set.createIndex()
        evaluation = COCOeval(true_set, true_set.loadRes(np.array(rows, np.float64)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]  # all areas, 100 boxes of a class
    return [float(p[p > -1].mean()) if (p > -1).any() else float("nan") for p in precision]


@pytest.mark.parametrize("seed", range(40))
def test_it_equals_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes, most = int(rng.integers(1, 12)), int(rng.choice([5, 30, 250]))
    pictures = [picture(rng, classes, most, int(rng.choice([6, 20]))) for _ in range(int(rng.integers(1, 8)))]
    pictures.append((np.zeros((0, 6)), np.zeros((0, 6))))
    pictures.append(picture(rng, classes, 5, 6))
    matches = [match_boxes(found, true) for found, true in pictures]
    expected = reference(pictures, classes)
    assert mean_precision(matches) == pytest.approx(expected, abs=SUMMED, nan_ok=True)
    assert coco_precision(matches) == pytest.approx(expected, abs=SUMMED, nan_ok=True)


def test_the_cases_hold_what_they_are_for() -> None:
    """Ties, crowds, more than 100 boxes of a class, and values that tell thresholds and pictures apart."""
    seen: dict[str, bool] = {}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        classes, most = int(rng.integers(1, 12)), int(rng.choice([5, 30, 250]))
        found, true = picture(rng, classes, most, int(rng.choice([6, 20])))
        matches = match_boxes(found, true)
        seen["ties"] = seen.get("ties", False) or len(set(found[:, 4])) < len(found)
        seen["crowds"] = seen.get("crowds", False) or any(matches.ignored)
        seen["more than 100"] = seen.get("more than 100", False) or len(matches.scores) < len(found)
        seen["hits"] = seen.get("hits", False) or any(0 < bits < 1023 for bits in matches.hits)
    assert seen == dict.fromkeys(("ties", "crowds", "more than 100", "hits"), True)


def found_at(*rows: tuple[float, float, int]) -> Boxes:
    """Boxes of 10x10 at x, with a score and a class."""
    return np.array([[x, 0, x + 10, 10, score, name] for x, score, name in rows], np.float64).reshape(-1, 6)


def true_at(*rows: tuple[float, int]) -> Boxes:
    return np.array([[x, 0, x + 10, 10, name, 0] for x, name in rows], np.float64).reshape(-1, 6)


def test_by_hand() -> None:
    """Two true boxes: the first is found, then a wrong box, then the second: precision 1 up to recall 0.5, then 2/3."""
    matches = [match_boxes(found_at((0, 0.9, 0), (50, 0.8, 0), (100, 0.7, 0)), true_at((0, 0), (100, 0)))]
    assert matches[0].hits == (1023, 0, 1023)
    assert mean_precision(matches)[0] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_a_true_box_is_matched_once_and_by_its_own_class_alone() -> None:
    matches = match_boxes(found_at((0, 0.9, 0), (1, 0.8, 0), (0, 0.99, 1)), true_at((0, 0)))
    assert sorted(zip(matches.scores, matches.hits, strict=True)) == [(0.8, 0), (0.9, 1023), (0.99, 0)]
    assert matches.truths == {0: 1}


def test_of_equal_overlaps_the_last_true_box_is_taken_as_pycocotools_does() -> None:
    """The first box lies between two true ones and takes the second, which leaves nothing to the box that is there."""
    found, true = found_at((2, 0.9, 0), (4, 0.8, 0)), true_at((0, 0), (4, 0))
    matches = match_boxes(found, true)
    assert [bits & 1 for bits in matches.hits] == [1, 0]
    assert mean_precision([matches]) == pytest.approx(reference([(found, true)], 1), abs=SUMMED)


def test_an_iou_at_the_threshold_counts() -> None:
    """10x10 against 10x5 inside it: IoU 0.5 exactly."""
    half = np.array([[0, 0, 10, 5, 0.9, 0]], np.float64)
    assert match_boxes(half, true_at((0, 0))).hits == (1,)
    assert match_boxes(half - [0, 0, 0, 0.01, 0, 0], true_at((0, 0))).hits == (0,)
    assert THRESHOLDS[0] == 0.5


def test_the_interval_holds_the_value_and_widens_with_fewer_groups() -> None:
    rng = np.random.default_rng(1)
    matches = [match_boxes(*picture(rng, 3, 5, 20)) for _ in range(32)]
    value = mean_precision(matches)[0]
    alone = mean_precision_interval(matches, [str(i) for i in range(32)])
    grouped = mean_precision_interval(matches, [str(i // 8) for i in range(32)])
    assert alone.low < value < alone.high
    assert grouped.low < alone.low
    assert grouped.high > alone.high


def test_the_interval_is_that_of_resampled_pictures() -> None:
    """Against a bootstrap that copies whole pictures and accumulates each copy with pycocotools."""
    rng = np.random.default_rng(2)
    matches = [match_boxes(*picture(rng, 2, 3, 20)) for _ in range(12)]
    copies = [coco_precision([matches[i] for i in rng.integers(0, 12, 12)])[0] for _ in range(400)]
    low, high = np.nanquantile(copies, [0.025, 0.975])
    ends = mean_precision_interval(matches, [str(i) for i in range(12)])
    assert ends.low <= low + 0.04  # 400 and 2000 resamples; the printed interval also holds the score interval
    assert ends.high >= high - 0.04
    assert ends.high - ends.low < 1.5 * (high - low) + 0.2


def test_the_distance_of_boxes_by_hand() -> None:
    """A box of the score 0.8 moved by half an IoU, and one of 0.4 lost: 1 - 2 (0.8 x 9/11) / (1.2 + 0.8)."""
    exact, found = found_at((0, 0.8, 0), (50, 0.4, 0)), found_at((1, 0.8, 0))
    assert box_distance(found, exact) == pytest.approx(1 - 2 * 0.8 * (9 / 11) / 2.0)
    assert box_distance(exact, exact) == 0
    assert box_distance(found_at((0, 0.8, 1), (50, 0.4, 1)), exact) == 1  # of another class
    assert box_distance(found_at((0, 0.8, 0), (50, 0.2, 0)), exact) == pytest.approx(1 - 2 / 2.2)
    assert box_distance(found_at(), exact) == box_distance(exact, found_at()) == 1
    assert box_distance(found_at(), found_at()) == 0


def test_two_boxes_do_not_share_one_partner() -> None:
    assert box_distance(found_at((0, 0.5, 0)), found_at((0, 0.5, 0), (0, 0.5, 0))) == pytest.approx(1 - 2 * 0.5 / 1.5)


def test_pictures_without_any_box_have_no_precision() -> None:
    nothing = match_boxes(np.zeros((0, 6)), np.zeros((0, 6)))
    assert np.isnan(mean_precision([nothing, nothing])).all()
    assert np.isnan(coco_precision([nothing, nothing])).all()
