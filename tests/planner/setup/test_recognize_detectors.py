"""What is guessed of a detector, by the shapes that the usual exports have."""

from __future__ import annotations

import numpy as np
import pytest

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.setup.recognize import guess_task

Shapes = dict[str, tuple[int, ...]]
EXPORTS: dict[str, tuple[Shapes, tuple[int, ...], float, str]] = {  # outputs, input, largest x or y, decoder
    "YOLOX-Nano 416": ({"output": (1, 3549, 85)}, (1, 3, 416, 416), 1.2, "yolox"),
    "YOLOX-S 640": ({"output": (1, 8400, 85)}, (1, 3, 640, 640), 1.2, "yolox"),
    "YOLOX of another shape": ({"output": (1, 5040, 85)}, (1, 3, 384, 640), 1.2, "yolox"),
    "YOLOX decoded": ({"output": (1, 8400, 85)}, (1, 3, 640, 640), 600, "yolov5"),
    "YOLOv5s": ({"output0": (1, 25200, 85)}, (1, 3, 640, 640), 600, "yolov5"),
    "YOLOv8n": ({"output0": (1, 84, 8400)}, (1, 3, 640, 640), 600, "yolov8"),
    "YOLO11n of 320": ({"output0": (1, 84, 2100)}, (1, 3, 320, 320), 300, "yolov8"),
    "YOLOv8n of one class": ({"output0": (1, 5, 8400)}, (1, 3, 640, 640), 600, "yolov8"),
    "YOLOv10n": ({"output0": (1, 300, 6)}, (1, 3, 640, 640), 600, "nms"),
    "SSD300": ({"loc": (1, 8732, 4), "conf": (1, 8732, 81)}, (1, 3, 300, 300), 3, "ssd"),
    "torchvision": ({"boxes": (100, 4), "labels": (100,), "scores": (100,)}, (1, 3, 320, 320), 300, "nms"),
    "TensorFlow": (
        {
            "detection_boxes": (1, 100, 4),
            "detection_classes": (1, 100),
            "detection_scores": (1, 100),
            "num_detections": (1,),
        },
        (1, 300, 300, 3),
        1,
        "nms",
    ),
}


def guessed(shapes: Shapes, input_shape: tuple[int, ...], largest: float) -> tuple[str, str]:
    outputs = [IOTensor(name=name, shape=shape, dtype="float32") for name, shape in shapes.items()]
    rng = np.random.default_rng(0)
    values: list[dict[str, Array]] = [
        {name: (rng.random(shape) * largest).astype(np.float32) for name, shape in shapes.items()} for _ in range(2)
    ]
    return guess_task(outputs, values, input_shape)


@pytest.mark.parametrize("export", EXPORTS)
def test_usual_exports_are_recognized(export: str) -> None:
    shapes, input_shape, largest, decoder = EXPORTS[export]
    assert guessed(shapes, input_shape, largest)[1] == f"--task detect --decode {decoder}"


def test_yolox_is_called_by_its_name() -> None:
    assert guessed({"output": (1, 3549, 85)}, (1, 3, 416, 416), 1.2) == (
        "looks like YOLOX",
        "--task detect --decode yolox",
    )


def test_other_tensors_are_no_detectors() -> None:
    assert "detect" not in guessed({"y": (1, 21, 64, 64)}, (1, 3, 64, 64), 5)[1]
    assert "detect" not in guessed({"y": (1, 1000)}, (1, 3, 64, 64), 5)[1]
