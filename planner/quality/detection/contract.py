"""What a decoder is: the outputs that it reads, and a function from them to boxes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.detection.boxes import Boxes, Frame
from splitpoint.profiles.errors import ProfileError

__all__ = ["Decoder", "Maker", "list_shapes", "misfit", "only_one"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Decoder:
    """How the outputs of one network become boxes."""

    reads: tuple[str, ...]  # names of outputs
    decode: Callable[[Mapping[str, Array]], Boxes]  # finite outputs by name -> (M, 6): x0 y0 x1 y1 score class
    classes: int | None = None  # how many there are, where the outputs tell
    sha256: str = ""  # of the file with a decoder of the user's own


Maker = Callable[[Task, Sequence[IOTensor], Frame], Decoder]  # raises `ProfileError` where the outputs do not fit


def misfit(task: Task, outputs: Sequence[IOTensor], expected: str) -> ProfileError:
    """The error of outputs that a decoder cannot read."""
    return ProfileError(
        f"decode {task.decode} reads {expected}; the outputs are {list_shapes(outputs)}",
        at="$.task.decode",
        fix="another --decode, --output NAME for each output to read, or a function: --decode file.py:function",
    )


def only_one(task: Task, outputs: Sequence[IOTensor], fits: Callable[[IOTensor], bool], expected: str) -> IOTensor:
    """The one output that `fits`; raises `ProfileError` with all shapes where none or several do."""
    fitting = [tensor for tensor in outputs if fits(tensor)]
    if len(fitting) != 1:
        raise misfit(task, outputs, expected)
    return fitting[0]


def list_shapes(outputs: Sequence[IOTensor]) -> str:
    """Names and shapes, for messages."""
    return ", ".join(f"{tensor.name!r} {list(tensor.shape)}" for tensor in outputs)
