"""Where a picture's pixels lie in the network's input: the exact resize, crop or letterbox of an input block."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from splitpoint.profiles.network.inputs import InputSpec

__all__ = ["Placement", "place_picture"]


def __dir__() -> list[str]:
    return __all__


Boxes = NDArray[np.float64]  # (M, 4 or more): x0 y0 x1 y1 in pixels, then whatever else


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """An upright picture of `size` is resized to `resized`, whose corner lies at `offset` in the network's input.

    All are (width, height) or (x, y) in pixels; a crop has a negative offset.
    """

    size: tuple[int, int]
    resized: tuple[int, int]
    offset: tuple[int, int]
    frame: tuple[int, int]  # of the network's input

    def to_network(self, boxes: NDArray[Any]) -> Boxes:
        """Boxes of the picture in the frame of the network's input, clipped to it; those outside have no area."""
        scale, shift = self._scale_and_shift()
        return _clipped(boxes, lambda corners: corners * scale + shift, self.frame)

    def to_picture(self, boxes: NDArray[Any]) -> Boxes:
        """Boxes of the network's input in the frame of the picture, clipped to it: the inverse of `to_network`."""
        scale, shift = self._scale_and_shift()
        return _clipped(boxes, lambda corners: (corners - shift) / scale, self.size)

    def _scale_and_shift(self) -> tuple[Boxes, Boxes]:
        scale = np.array(self.resized, np.float64) / np.array(self.size)
        return np.tile(scale, 2), np.tile(np.array(self.offset, np.float64), 2)


def place_picture(width: int, height: int, spec: InputSpec) -> Placement:
    """The placement of an upright picture of `width` and `height` under `spec`, an image's input block.

    Under ``crop: none`` the resized picture need not have the network's size; a reader refuses it then.
    """
    rows, columns = spec.height_width
    if spec.letterbox is not None:
        ratio = min(rows / height, columns / width)
        inner = (max(1, min(columns, round(width * ratio))), max(1, min(rows, round(height * ratio))))
        centered = ((columns - inner[0]) // 2, (rows - inner[1]) // 2)
        offset = centered if spec.letterbox_at == "center" else (0, 0)
        return Placement(size=(width, height), resized=inner, offset=offset, frame=(columns, rows))
    if spec.resize == "exact":
        return Placement(size=(width, height), resized=(columns, rows), offset=(0, 0), frame=(columns, rows))
    ratio = max(rows / height, columns / width)
    if isinstance(spec.resize, int):
        ratio = max(spec.resize / min(height, width), ratio)
    resized = (max(columns, round(width * ratio)), max(rows, round(height * ratio)))
    offset = (-((resized[0] - columns) // 2), -((resized[1] - rows) // 2))
    return Placement(size=(width, height), resized=resized, offset=offset, frame=(columns, rows))


def _clipped(boxes: NDArray[Any], move: Any, frame: tuple[int, int]) -> Boxes:
    moved = np.array(boxes, np.float64)
    moved[:, :4] = np.clip(move(moved[:, :4]), 0, np.tile(np.array(frame, np.float64), 2))
    return moved
