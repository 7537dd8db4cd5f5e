"""A detector of coloured squares whose weights are written down, its pictures, and their labels in both formats.

The picture, 64x48 with squares of 16x16, is letterboxed to 64x64. Two convolutions of stride 2 turn colours into a map
of 4-pixel cells, each with the share that red, green and blue squares take; a window of 4x4 cells gives the class
scores, and what stands out of it on either side how far the box lies from the window. The head is that of YOLOv8.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from PIL import Image

SIDE, HEIGHT, SQUARE, CELL = 64, 48, 16, 4
CLASSES = 3  # red, green, blue
BORDER = (SIDE - HEIGHT) // 2  # above and below the picture
PLACES = SIDE // CELL - 3  # of a window in each direction
COLOURS = np.array([[230, 40, 40], [40, 230, 40], [40, 40, 230]], np.float64)
PICTURES = 40
Array = NDArray[np.float32]


def model() -> bytes:
    """Input "x" (1, 3, 64, 64) in 0..255, output "boxes" (1, 4 + 3, 169)."""
    colour = np.full((3, 3, 1, 1), -0.5) + 1.5 * np.eye(3)[:, :, None, None]  # a channel above the mean of the others
    first = np.tile(colour / 4, (1, 1, 2, 2)) / 190  # 1 inside a square of its colour
    second = np.zeros((3, 3, 2, 2))
    second[range(3), range(3)] = 1 / 4
    window = np.zeros((5, 3, 6, 6))
    for channel in range(3):
        window[channel, channel, 1:5, 1:5] = 1 / 16
    window[3, :, 1:5, 5], window[3, :, 1:5, 0] = 1.0, -1.0  # cells of 4 pixels; a column of 4 cells is 16 of height
    window[4, :, 5, 1:5], window[4, :, 0, 1:5] = 1.0, -1.0
    places = CELL * np.mgrid[:PLACES, :PLACES][::-1].reshape(1, 2, -1) + SQUARE / 2
    weights = {
        "w1": first,
        "b1": np.full(3, -0.1),
        "w2": second,
        "w3": window,
        "sharp": np.array(40.0),
        "half": np.array(0.65),
        "places": places,
        "size": np.full((1, 2, PLACES**2), SQUARE),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "conv1", strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], "conv2", strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("Conv", ["r2", "w3"], ["c3"], "conv3", pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["c3", "rows"], ["head"], "reshape"),
        helper.make_node("Split", ["head", "parts"], ["logits", "offsets"], "split", axis=1),
        helper.make_node("Sub", ["logits", "half"], ["above"], "sub"),
        helper.make_node("Mul", ["above", "sharp"], ["steep"], "mul"),
        helper.make_node("Sigmoid", ["steep"], ["scores"], "sigmoid"),
        helper.make_node("Add", ["offsets", "places"], ["centres"], "add"),
        helper.make_node("Concat", ["centres", "size", "scores"], ["boxes"], "concat", axis=1),
    ]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.array([1, 5, PLACES**2]), "rows"))
    constants.append(numpy_helper.from_array(np.array([3, 2]), "parts"))
    graph = helper.make_graph(
        nodes,
        "squares",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("boxes", onnx.TensorProto.FLOAT, (1, 4 + CLASSES, PLACES**2))],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


def scene(rng: np.random.Generator, *, share: float = 0.5) -> tuple[NDArray[np.uint8], list[list[int]]]:
    """A picture (48, 64, 3) and its squares in `share` of four places: x, y of the corner and class."""
    picture = rng.normal(110, 12, (HEIGHT // 4, SIDE // 4, 1)).repeat(4, axis=0).repeat(4, axis=1)
    picture = picture + rng.normal(0, 4, (HEIGHT, SIDE, 3))
    squares: list[list[int]] = []
    for column, row in [(x, y) for x in range(2) for y in range(2)]:
        if rng.random() >= share:
            continue
        x, y = 32 * column + int(rng.integers(2, 12)), 24 * row + int(rng.integers(1, 6))
        name = int(rng.integers(CLASSES))
        picture[y : y + SQUARE, x : x + SQUARE] = COLOURS[name] + rng.normal(0, 6, (SQUARE, SQUARE, 3))
        squares.append([x, y, name])
    return np.clip(picture, 0, 255).astype(np.uint8), squares


def fill(folder: Path, count: int = PICTURES) -> None:
    """model.onnx, data/images with data/labels (YOLO text), plain/ (the pictures alone) and boxes.json (COCO)."""
    (folder / "model.onnx").write_bytes(model())
    for name in ("data/images", "data/labels", "plain"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(11)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(count):
        picture, squares = scene(rng, share=0 if number % 5 == 0 else 0.5)
        for place in ("data/images", "plain"):
            Image.fromarray(picture).save(folder / place / f"{number:03}.png")
        lines = [
            f"{c} {(x + 8) / SIDE:.6f} {(y + 8) / HEIGHT:.6f} {16 / SIDE:.6f} {16 / HEIGHT:.6f}" for x, y, c in squares
        ]
        (folder / "data/labels" / f"{number:03}.txt").write_text("\n".join(lines))
        images.append({"id": number + 100, "file_name": f"{number:03}.png", "width": SIDE, "height": HEIGHT})
        annotations += [
            {
                "id": len(annotations) + i,
                "image_id": number + 100,
                "category_id": 10 * c + 3,
                "bbox": [x, y, 16, 16],
                "iscrowd": 0,
            }
            for i, (x, y, c) in enumerate(squares)
        ]
    categories = [{"id": 10 * c + 3, "name": name} for c, name in enumerate(("red", "green", "blue"))]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "boxes.json").write_text(json.dumps(coco))
