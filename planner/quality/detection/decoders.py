"""Every decoder by name, and those of the user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.detection.boxes import Boxes, Frame, boxes_of
from splitpoint.planner.quality.detection.contract import Decoder, Maker, list_shapes
from splitpoint.planner.quality.detection.in_graph import make_nms, make_nms_yx
from splitpoint.planner.quality.detection.ssd import make_ssd
from splitpoint.planner.quality.detection.yolo import make_yolov5, make_yolov8, make_yolox
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.user_code import call_user_code, import_named

__all__ = ["DECODERS", "frame_of", "make_decoder"]


def __dir__() -> list[str]:
    return __all__


DECODERS: Mapping[str, Maker] = {
    "yolox": make_yolox,
    "yolov5": make_yolov5,
    "yolov8": make_yolov8,
    "ssd": make_ssd,
    "nms": make_nms,
    "nms-yx": make_nms_yx,
}


def frame_of(input_shape: Sequence[int]) -> Frame:
    """Width and height of the picture that a network takes; raises `ProfileError` for an input that is no picture."""
    if len(input_shape) == 4 and input_shape[1] <= 4:
        return input_shape[3], input_shape[2]
    if len(input_shape) == 4 and input_shape[3] <= 4:
        return input_shape[2], input_shape[1]
    raise ProfileError(f"task detect needs a picture as input, the network takes {list(input_shape)}", at="$.task")


def make_decoder(task: Task, outputs: Sequence[IOTensor], frame: Frame) -> Decoder:
    """The decoder that `task` names, for a network with these outputs; raises `ProfileError` where they do not fit."""
    names = [tensor.name for tensor in outputs]
    unknown = [name for name in task.outputs if name not in names]
    if unknown:
        raise ProfileError(f"the network has no output {unknown[0]!r}, it has {', '.join(names)}", at="$.task.outputs")
    chosen = [outputs[names.index(name)] for name in task.outputs] or list(outputs)
    if task.decode in DECODERS:
        return DECODERS[task.decode](task, chosen, frame)
    if ":" in task.decode:
        return _own(task, chosen, frame)
    what = f"{task.decode!r} is no decoder" if task.decode else "task detect needs to know how outputs become boxes"
    raise ProfileError(
        f"{what}; the outputs are {list_shapes(outputs)}",
        at="$.task.decode",
        fix=f"--decode with one of {', '.join(DECODERS)} ({_suit(task, chosen, frame)}), or file.py:function",
    )


def _suit(task: Task, outputs: Sequence[IOTensor], frame: Frame) -> str:
    """Which decoders take outputs of these shapes."""
    fitting = []
    for name, make in DECODERS.items():
        try:
            make(Task(name="detect", decode=name, outputs=task.outputs), outputs, frame)
        except ProfileError:
            continue
        fitting.append(name)
    return f"by their shapes: {', '.join(fitting)}" if fitting else "none takes these shapes"


def _own(task: Task, outputs: Sequence[IOTensor], frame: Frame) -> Decoder:
    """A function from outputs by name to (M, 6): x0 y0 x1 y1 score class, in pixels of the network's input."""
    function = import_named(task.decode)
    if not callable(function):
        raise ProfileError(f"expected a function, got {type(function).__name__}", at=task.decode)
    file = Path(task.decode.rpartition(":")[0])
    return Decoder(
        reads=tuple(tensor.name for tensor in outputs),
        decode=lambda arrays: _call(function, arrays, frame, task.decode),
        sha256=hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "",
    )


def _call(function: Callable[[Mapping[str, Array]], Any], arrays: Mapping[str, Array], frame: Frame, at: str) -> Boxes:
    rows = call_user_code(lambda: np.asarray(function(dict(arrays)), np.float64), at=at, doing="calling your decoder")
    if rows.size == 0:
        return np.zeros((0, 6))
    if rows.ndim != 2 or rows.shape[1] != 6:
        raise ProfileError(
            f"the decoder gave an array {list(rows.shape)}, expected (M, 6): x0 y0 x1 y1 score class", at=at
        )
    return boxes_of(rows[:, :4], rows[:, 4], rows[:, 5], frame=frame)
