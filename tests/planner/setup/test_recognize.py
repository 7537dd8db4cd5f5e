"""Which networks are taken for classifiers, and what the others look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.setup.recognize import is_classifier, recognize
from splitpoint.profiles.errors import ProfileError

PICTURE = (1, 3, 416, 416)
N, K = 12, 10


def output(name: str, *shape: int, dtype: str = "float32") -> IOTensor:
    return IOTensor(name=name, shape=shape, dtype=dtype)


def run_of(outputs: list[IOTensor], scale: float = 1.0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [{o.name: (scale * rng.normal(size=o.shape)).astype(o.dtype) for o in outputs} for _ in range(4)]


def logits(strength: float) -> Any:
    """Scores (N, K) with one class raised in each row."""
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(N, K))
    rows[np.arange(N), rng.integers(0, K, N)] += strength
    return rows


def two(strength: float) -> Any:
    """Scores (N, 2) of which one is `strength` above the other."""
    return np.where(np.arange(N)[:, None] % 2 == np.arange(2), strength / 2, -strength / 2)


def softmax(rows: Any) -> Any:
    return np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        (softmax(logits(3)), "probabilities"),
        (softmax(np.zeros((N, K))), "probabilities"),
        (np.log(softmax(logits(3))), "logarithms of probabilities"),
        (logits(6), "logits"),
        (two(3.0), "logits"),
        (2 * np.random.default_rng(3).normal(size=(N, 4)), "logits"),
        (logits(6).astype(np.float16).astype(np.float64), "logits"),
    ],
)
def test_class_scores_are_recognized(scores: Any, why: str) -> None:
    assert why in str(is_classifier(scores, None))


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(
    "scores",
    [
        unit(logits(0)),  # embeddings of length 1
        unit(np.random.default_rng(3).normal(size=(N, 4))),  # quaternions
        np.random.default_rng(0).normal(size=(N, 128)),  # embeddings
        np.maximum(logits(3), 0),  # rectified features
        1 / (1 + np.exp(-logits(3))),  # sigmoids: several labels at once
        np.array([[120.0, 80, 30, 60]] * N),  # a box
        np.array([[0.3, -0.2, 0.1, 0.5, 0.2]] * N),  # angles
        np.full((N, K), np.nan),
        two(0.5),
        logits(6) + 1000,  # an offset that no class score has
    ],
)
def test_other_vectors_are_not(scores: Any) -> None:
    assert is_classifier(scores, None) is None


def test_labels_that_are_met_make_a_classifier() -> None:
    weak = logits(0.1)
    labels = weak.argmax(axis=1)
    assert is_classifier(weak, None) is None
    assert "the label of 100% of some inputs" in str(is_classifier(weak, labels.tolist()))
    assert is_classifier(weak, ((labels + 1) % K).tolist()) is None
    assert is_classifier(weak, (labels + K).tolist()) is None  # no index of an output


def test_one_answer_for_all_inputs_does_not_meet_labels_of_one_class() -> None:
    constant = np.tile(np.linspace(-0.1, 0.1, K), (N, 1))
    assert is_classifier(constant, [K - 1] * 7 + [0] * 5) is None


def test_a_classifier_is_taken_for_one_and_it_is_said() -> None:
    outputs = [output("scores", 1, K)]
    values = [{"scores": row[None]} for row in softmax(logits(2))]
    task, text = recognize(outputs, values, labels=None, input_shape=PICTURE)
    assert task == Task(name="classify")
    assert text == "taken for a classifier of 10 classes: its outputs are probabilities, of sum 1"


@pytest.mark.parametrize(
    ("outputs", "input_shape", "guess"),
    [
        ([output("output", 1, 3549, 85)], PICTURE, "looks like YOLOX: --task detect --decode yolox"),
        ([output("o", 1, 8400, 85)], (1, 640, 640, 3), "looks like YOLOX: --task detect --decode yolox"),
        ([output("o", 1, 6300, 85)], (1, 3, 320, 320), "looks like YOLOv5: --task detect --decode yolov5"),
        ([output("o", 1, 84, 8400)], (1, 3, 640, 640), "looks like YOLOv8 or YOLO11: --task detect --decode yolov8"),
        ([output("b", 1, 3000, 4), output("s", 1, 3000, 21)], (1, 3, 300, 300), "an SSD: --task detect --decode ssd"),
        ([output("d", 1, 300, 6)], (1, 3, 640, 640), "NMS in the graph: --task detect --decode nms"),
        (
            [output("boxes", 1, 100, 4), output("scores", 1, 100), output("classes", 1, 100)],
            PICTURE,
            "NMS in the graph: --task detect --decode nms",
        ),
        ([output("m", 1, 19, 64, 64)], PICTURE, "looks like a map of classes: --task segment"),
        ([output("m", 1, 64, 64, 2)], (1, 128, 128, 3), "looks like a map of classes: --task segment"),
        ([output("m", 1, 1, 64, 64)], (1, 3, 128, 128), "looks like one value a pixel: --task segment"),
        ([output("m", 1, 32, 64)], (1, 64, 128, 3), "looks like one value a pixel: --task segment"),
        ([output("t", 1, 25, 37)], (1, 1, 32, 100), "--task sequence --decode ctc"),
        ([output("t", 25, 1, 37)], (1, 1, 32, 100), "--task sequence --decode ctc"),
        ([output("m", 1, 64, 64, dtype="int64")], PICTURE, "looks like a map of class numbers: --task segment"),
        ([output("l", 1, 50, 30)], (1, 16000), "--task sequence --decode ctc"),
        ([output("t", 1, 20, dtype="int64")], (1, 16), "looks like token numbers: --task sequence --decode ids"),
        ([output("e", 1, 128)], PICTURE, "looks like a vector to compare: --task embed"),
        ([output("v", 1, 1)], (1, 8), "looks like a number between"),
        ([output("v", 1, 3)], (1, 8), "--task regress (or --task classify for class scores)"),
        ([output("a", 1, 8, 4, 4), output("b", 1, 2)], PICTURE, "several outputs: --task tensor"),
        ([output("a", 2, 8)], (2, 8), "looks like a tensor: --task tensor"),
    ],
)
def test_anything_else_is_asked_for_with_a_guess(outputs: Any, input_shape: Any, guess: str) -> None:
    with pytest.raises(ProfileError, match="what is this network for") as caught:
        recognize(outputs, run_of(outputs), labels=None, input_shape=input_shape)
    assert guess in str(caught.value.fix)
    assert "tasks: classify, detect, segment, embed, regress, sequence, tensor" in str(caught.value.fix)
    assert caught.value.at == "$.task"


def test_decoded_boxes_of_yolox_are_pixels() -> None:
    outputs = [output("output", 1, 3549, 85)]
    with pytest.raises(ProfileError) as caught:
        recognize(outputs, run_of(outputs, scale=200), labels=None, input_shape=PICTURE)
    assert "looks like YOLOX with decoded boxes: --task detect --decode yolov5" in str(caught.value.fix)
