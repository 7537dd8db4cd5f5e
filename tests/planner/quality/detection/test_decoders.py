"""Decoders: boxes written into outputs by the formulas of each family come back, whatever the layout."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.detection.boxes import MOST_BOXES, Boxes, overlaps, suppress
from splitpoint.planner.quality.detection.decoders import DECODERS, frame_of, make_decoder
from splitpoint.profiles.errors import ProfileError

FRAME = (96, 64)  # width, height
WANTED = np.array([[10, 8, 40, 30, 0.9, 2], [50, 20, 90, 60, 0.8, 0], [12, 40, 22, 58, 0.4, 1]], np.float64)
ROUNDING = 1e-4  # of pixels, in float32


def decoded(arrays: dict[str, Array], decode: str, **options: object) -> Boxes:
    tensors = [IOTensor(name=name, shape=y.shape, dtype=str(y.dtype)) for name, y in arrays.items()]
    task = Task(name="detect", decode=decode, **options)  # type: ignore[arg-type]
    decoder = make_decoder(task, tensors, FRAME)
    return decoder.decode({name: arrays[name] for name in decoder.reads})


def centred(boxes: Array) -> Array:
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:4]) / 2, boxes[:, 2:4] - boxes[:, :2]], axis=1)


def one_hot(rows: Array, classes: int = 3) -> Array:
    probabilities = np.full((len(rows), classes), 0.001)
    probabilities[range(len(rows)), rows[:, 5].astype(int)] = rows[:, 4]
    return probabilities


def in_rows(values: Array, count: int) -> NDArray[np.float32]:
    """(1, count, F) with `values` spread over otherwise empty rows."""
    table = np.zeros((1, count, values.shape[1]), np.float32)
    table[0, 3 : 3 + 5 * len(values) : 5] = values
    return table


def yolox() -> dict[str, Array]:
    """Each box is given by the cell of stride 8 in which its centre lies, row by row of cells."""
    table = np.zeros((1, 12 * 8 + 6 * 4 + 3 * 2, 8), np.float32)
    for row, scores in zip(WANTED, one_hot(WANTED), strict=True):
        x, y, w, h = centred(row[None, :4])[0]
        cell_x, cell_y = int(x // 8), int(y // 8)
        place = [x / 8 - cell_x, y / 8 - cell_y, np.log(w / 8), np.log(h / 8)]
        table[0, cell_y * 12 + cell_x] = [*place, 0.99, *(scores / 0.99)]
    return {"output": table}


def yolov5(scale: Array | float = 1.0) -> dict[str, Array]:
    return {"out": in_rows(np.column_stack([centred(WANTED) / scale, np.full(3, 0.95), one_hot(WANTED) / 0.95]), 50)}


def yolov8(scale: Array | float = 1.0) -> dict[str, Array]:
    rows = in_rows(np.column_stack([centred(WANTED) / scale, one_hot(WANTED)]), 50)
    return {"output0": rows.transpose(0, 2, 1)}


def ssd(scale: Array | float = 1.0) -> dict[str, Array]:
    background = 1 - one_hot(WANTED).sum(axis=1)
    scores = in_rows(np.column_stack([background, one_hot(WANTED)]), 50)
    scores[0, scores[0].sum(axis=1) == 0, 0] = 1
    return {"scores": scores, "boxes": in_rows(WANTED[:, :4] / scale, 50)}


def logit(p: Array) -> Array:
    return np.asarray(np.log(p / (1 - p)))


def yolov5_heads(*, joined: bool = False) -> dict[str, Array]:
    """Each box in the map of stride 16, by the anchor (30, 61): centre 2 s - 0.5, size (2 s)^2 (YOLOv5's head)."""
    maps = [np.full((1, 3, 64 // s, 96 // s, 8), -20, np.float32) for s in (8, 16, 32)]
    for row, scores in zip(WANTED, one_hot(WANTED), strict=True):
        x, y, w, h = centred(row[None, :4])[0] / 16
        column, line = int(x), int(y)
        place = [(x - column + 0.5) / 2, (y - line + 0.5) / 2, np.sqrt(w * 16 / 30) / 2, np.sqrt(h * 16 / 61) / 2]
        maps[1][0, 0, line, column] = logit(np.array([*place, 0.99, *(scores / 0.99)]))
    if joined:
        maps = [m.transpose(0, 1, 4, 2, 3).reshape(1, 24, *m.shape[2:4]) for m in maps]
    return {f"map{i}": m for i, m in enumerate(maps)}


def yolov8_heads(*, apart: bool = False) -> dict[str, Array]:
    """Each box in the map of stride 8; a distance between two bins is their mixture (YOLOv8's head)."""
    maps = [np.full((1, 67, 64 // s, 96 // s), -20, np.float32) for s in (32, 8, 16)]
    for row, scores in zip(WANTED, one_hot(WANTED), strict=True):
        x0, y0, x1, y1 = row[:4] / 8
        column, line = int((x0 + x1) / 2), int((y0 + y1) / 2)
        sides = [column + 0.5 - x0, line + 0.5 - y0, x1 - column - 0.5, y1 - line - 0.5]
        cell = np.full((4, 16), -60.0)
        for side, distance in enumerate(sides):
            low = int(distance)
            share = distance - low
            cell[side, [low, low + 1]] = np.log(np.maximum([1 - share, share], 1e-20))
        maps[1][0, :, line, column] = [*cell.ravel(), *logit(scores)]
    if apart:
        parts = {"box": slice(64), "cls": slice(64, None)}
        return {f"{name}{i}": m[:, part] for i, m in enumerate(maps) for name, part in parts.items()}
    return {f"map{i}": m for i, m in enumerate(maps)}


SIZE = np.tile(np.array(FRAME, np.float64), 2)
TABLE = WANTED.astype(np.float32)
FAMILIES: dict[str, tuple[str, Callable[[], dict[str, Array]]]] = {
    "yolox": ("yolox", yolox),
    "yolov5": ("yolov5", yolov5),
    "yolov5 in shares": ("yolov5", lambda: yolov5(SIZE)),
    "yolov8": ("yolov8", yolov8),
    "yolov8 in shares": ("yolov8", lambda: yolov8(SIZE)),
    "yolov8 transposed": ("yolov8", lambda: {"o": yolov8()["output0"].transpose(0, 2, 1)}),
    "yolov8 with masks": (
        "yolov8",
        lambda: {
            "o": np.concatenate([yolov8()["output0"], np.full((1, 32, 50), 3, np.float32)], axis=1),
            "prototypes": np.zeros((1, 32, 16, 24), np.float32),
        },
    ),
    "yolov5 maps": ("yolov5", yolov5_heads),
    "yolov5 maps of convolutions": ("yolov5", lambda: yolov5_heads(joined=True)),
    "yolov8 maps": ("yolov8", yolov8_heads),
    "yolov8 maps, boxes and classes apart": ("yolov8", lambda: yolov8_heads(apart=True)),
    "ssd": ("ssd", ssd),
    "ssd in shares": ("ssd", lambda: ssd(SIZE)),
    "nms table": ("nms", lambda: {"dets": TABLE[None]}),
    "nms table, class first": ("nms", lambda: {"dets": TABLE[None][..., [0, 1, 2, 3, 5, 4]]}),
    "nms table without batch": ("nms", lambda: {"dets": TABLE}),
    "nms table of YOLOv7": ("nms", lambda: {"o": np.column_stack([np.zeros(3), TABLE[:, [0, 1, 2, 3, 5, 4]]])}),
    "nms table of OpenVINO": (
        "nms",
        lambda: {"o": np.column_stack([np.zeros(3), TABLE[:, [5, 4]], WANTED[:, :4] / SIZE])[None, None]},
    ),
    "mmdetection": ("nms", lambda: {"dets": TABLE[None, :, :5], "labels": TABLE[None, :, 5].astype(np.int64)}),
    "torchvision": (
        "nms",
        lambda: {"boxes": TABLE[:, :4], "labels": TABLE[:, 5].astype(np.int64), "scores": TABLE[:, 4]},
    ),
    "numbered names": (
        "nms",
        lambda: {"4201": TABLE[:, 4], "4202": TABLE[:, 5].astype(np.int64), "4203": TABLE[:, :4]},
    ),
    "TensorRT": (
        "nms",
        lambda: {
            "num_dets": np.array([[3]], np.int32),
            "det_boxes": np.concatenate([TABLE[None, :, :4], np.full((1, 2, 4), 7, np.float32)], axis=1),
            "det_scores": np.array([[0.9, 0.8, 0.4, 0.7, 0.7]], np.float32),
            "det_classes": np.array([[2, 0, 1, 0, 0]], np.int32),
        },
    ),
    "TensorFlow": (
        "nms",
        lambda: {
            "detection_boxes": (WANTED[:, :4] / SIZE)[None][..., [1, 0, 3, 2]],
            "detection_classes": TABLE[None, :, 5],
            "detection_scores": TABLE[None, :, 4],
            "num_detections": np.array([3.0], np.float32),
        },
    ),
    "TensorFlow Lite": (
        "nms",
        lambda: {
            "TFLite_Detection_PostProcess": (WANTED[:, :4] / SIZE)[None][..., [1, 0, 3, 2]],
            "TFLite_Detection_PostProcess:1": TABLE[None, :, 5],
            "TFLite_Detection_PostProcess:2": TABLE[None, :, 4],
            "TFLite_Detection_PostProcess:3": np.array([3.0], np.float32),
        },
    ),
    "y first": (
        "nms-yx",
        lambda: {"boxes": TABLE[:, [1, 0, 3, 2]], "labels": TABLE[:, 5].astype(np.int64), "scores": TABLE[:, 4]},
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_written_comes_back(family: str) -> None:
    decode, outputs = FAMILIES[family]
    assert decoded(outputs(), decode) == pytest.approx(WANTED, abs=ROUNDING * 100 if "shares" in family else ROUNDING)


@pytest.mark.parametrize("family", ["torchvision", "TensorRT", "TensorFlow", "numbered names"])
def test_the_order_of_outputs_apart_is_theirs_to_choose(family: str) -> None:
    decode, outputs = FAMILIES[family]
    for names in itertools.permutations(outputs()):
        assert decoded({name: outputs()[name] for name in names}, decode) == pytest.approx(WANTED, abs=ROUNDING)


def test_named_outputs_have_the_roles_of_their_order() -> None:
    outputs = {"a": TABLE[:, 4], "b": TABLE[:, 5], "c": TABLE[:, :4]}
    got = decoded(outputs, "nms", outputs=("c", "a", "b"))
    assert got == pytest.approx(WANTED, abs=ROUNDING)


def test_ssd_offsets_from_anchors(tmp_path: Path) -> None:
    """Liu et al. 2016, eq. (2): offsets in units of the anchor and of the variances 0.1 and 0.2."""
    rng = np.random.default_rng(0)
    anchors = np.concatenate([rng.uniform(0.2, 0.8, (50, 2)), rng.uniform(0.1, 0.5, (50, 2))], axis=1)
    np.save(tmp_path / "anchors.npy", anchors)
    wanted = centred(WANTED / [*SIZE, 1, 1])
    near = anchors[3:18:5]
    offsets = np.column_stack(
        [(wanted[:, :2] - near[:, :2]) / near[:, 2:] / 0.1, np.log(wanted[:, 2:] / near[:, 2:]) / 0.2]
    )
    scores = np.full((1, 50, 4), -10.0)
    scores[0, :, 0] = 10
    logits = np.log(np.column_stack([1 - one_hot(WANTED).sum(axis=1), one_hot(WANTED)]))
    scores[0, 3:18:5] = logits
    got = decoded({"boxes": in_rows(offsets, 50), "scores": scores}, "ssd", anchors=str(tmp_path / "anchors.npy"))
    assert got == pytest.approx(WANTED, abs=0.01)


def claims(rows: int) -> bytes:
    """The header of an .npy file of so many anchors, and none of them."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (rows, 4)})
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((50, 3)), r"expected \(50, 4\)"),
        (np.full((50, 4), -1.0), "above 0"),
        (None, "cannot be read"),
        (b"PK\x03\x04 cut short", "cannot be read"),  # numpy.load takes it for an .npz
        (claims(10**15), "cannot be read"),
    ],
)
def test_bad_anchors_are_refused(content: Array | bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "anchors.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(ProfileError, match=message):
        decoded(ssd(), "ssd", anchors=str(path))


def test_overlaps_of_one_class_are_suppressed() -> None:
    twice = np.array([[10, 10, 30, 30], [11, 10, 31, 30], [11, 10, 31, 30], [60, 10, 80, 30]], np.float64)
    scores, classes = np.array([0.6, 0.9, 0.8, 0.7]), np.array([1, 1, 2, 1])
    got = suppress(twice, scores, classes, iou=0.5, frame=FRAME)
    assert got[:, 4:].tolist() == [[0.9, 1], [0.8, 2], [0.7, 1]]
    assert len(suppress(twice, scores, classes, iou=0.95, frame=FRAME)) == 4


def test_suppression_is_the_greedy_one_by_its_definition() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        corner = rng.uniform(0, 60, (80, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(5, 30, (80, 2))], axis=1)
        scores, classes = rng.random(80) * 0.9 + 0.05, rng.integers(0, 3, 80)
        kept: list[int] = []
        for i in np.argsort(-scores):
            if all(classes[i] != classes[k] or overlaps(boxes[[i]], boxes[[k]])[0, 0] <= 0.4 for k in kept):
                kept.append(int(i))
        got = suppress(boxes, scores, classes, iou=0.4, frame=(200, 200))
        assert got[:, 4].tolist() == scores[kept].tolist()


def test_boxes_are_few_finite_and_inside() -> None:
    rng = np.random.default_rng(1)
    wild = rng.normal(0, 300, (1, 84, 3000)).astype(np.float32)
    wild[:, 4:] = np.abs(wild[:, 4:]) / 1000
    got = decoded({"o": wild}, "yolov8")
    assert 0 < len(got) <= MOST_BOXES
    assert np.isfinite(got).all()
    assert (got[:, :4] >= 0).all()
    assert (got[:, [0, 2]] <= FRAME[0]).all()
    assert (got[:, [1, 3]] <= FRAME[1]).all()
    huge = yolox()
    huge["output"][..., 2:4] = 1e4  # whose exponential is no number
    assert len(decoded(huge, "yolox")) == 0


SHAPES: dict[str, tuple[str, list[tuple[int, ...]]]] = {
    "another grid": ("yolox", [(1, 3549, 85)]),
    "too few numbers": ("yolov5", [(1, 100, 5)]),
    "two outputs that fit": ("yolov8", [(1, 84, 100), (1, 84, 100)]),
    "a classifier": ("yolov8", [(1, 1000)]),
    "scores alone": ("ssd", [(1, 100, 21)]),
    "no boxes": ("nms", [(1, 100), (1, 100)]),
}


@pytest.mark.parametrize("case", SHAPES)
def test_outputs_that_do_not_fit_are_refused_with_their_shapes(case: str) -> None:
    decode, shapes = SHAPES[case]
    outputs = {f"y{i}": np.zeros(shape, np.float32) for i, shape in enumerate(shapes)}
    with pytest.raises(ProfileError, match=f"decode {decode} reads") as caught:
        decoded(outputs, decode)
    assert str(list(shapes[0])) in caught.value.message


def test_an_unknown_decoder_is_refused_with_the_list() -> None:
    with pytest.raises(ProfileError, match=r"'yolo9000' is no decoder; the outputs are 'out' \[1, 50, 8\]") as caught:
        decoded(yolov5(), "yolo9000")
    assert all(name in str(caught.value.fix) for name in (*DECODERS, "file.py:function", "by their shapes: yolov5"))


OWN = """
import numpy as np
def boxes(outputs):
    return outputs["rows"]
def broken(outputs):
    return 1 / 0
"""


def test_a_function_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    here = f"{tmp_path / 'mine.py'}"
    assert decoded({"rows": WANTED}, f"{here}:boxes") == pytest.approx(WANTED)
    assert decoded({"rows": np.zeros(0)}, f"{here}:boxes").shape == (0, 6)
    with pytest.raises(ProfileError, match=r"gave an array \[3, 5\], expected \(M, 6\)"):
        decoded({"rows": WANTED[:, :5]}, f"{here}:boxes")
    with pytest.raises(
        ProfileError, match=r"calling your decoder failed: ZeroDivisionError: division by zero"
    ) as caught:
        decoded({"rows": WANTED}, f"{here}:broken")
    assert caught.value.at == f"{here}, line 6, in broken"
    with pytest.raises(ProfileError, match="has no 'other'"):
        decoded({"rows": WANTED}, f"{here}:other")


@pytest.mark.parametrize(
    ("shape", "frame"), [((1, 3, 64, 96), (96, 64)), ((1, 64, 96, 3), (96, 64)), ((1, 1, 20, 30), (30, 20))]
)
def test_the_frame_is_that_of_the_input(shape: Sequence[int], frame: tuple[int, int]) -> None:
    assert frame_of(shape) == frame


def test_an_input_that_is_no_picture_has_no_frame() -> None:
    with pytest.raises(ProfileError, match="needs a picture"):
        frame_of((1, 128))
