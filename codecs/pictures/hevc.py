"""One grey picture as an HEVC intra frame, by PyAV where it is installed (pip install av): tiles coded as video.

The bitstream is bare (Annex B), without a container and without the encoder's settings in it.
"""

from __future__ import annotations

import importlib
import importlib.util
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.protocol import CodecError, PayloadError

__all__ = ["SMALLEST_SIDE", "decode_grey", "encode_grey", "missing_hevc"]


def __dir__() -> list[str]:
    return __all__


SMALLEST_SIDE = 16  # pixels that x265 takes
SETTINGS = "log-level=none:info=0:pools=none:frame-threads=1:wpp=0:keyint=1"  # one thread: the same bytes every time


def missing_hevc() -> str | None:
    """Why this machine cannot code HEVC, or None."""
    return None if importlib.util.find_spec("av") is not None else "PyAV is not installed: pip install av"


def encode_grey(picture: NDArray[np.uint8], crf: int) -> bytes:
    """A picture (H, W) at x265's constant rate factor 0..51 (0 best); raises `CodecError`."""
    av = _av()
    encoder = av.CodecContext.create("libx265", "w")
    encoder.height, encoder.width = picture.shape
    encoder.pix_fmt = "gray"
    encoder.time_base = Fraction(1)
    encoder.options = {"crf": str(crf), "preset": "medium", "x265-params": SETTINGS}
    try:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")
        frame.pts = 0
        packets = [*encoder.encode(frame), *encoder.encode(None)]
    except (av.error.FFmpegError, ValueError) as error:
        raise CodecError(f"hevc of {picture.shape[1]}x{picture.shape[0]}: {error}") from None
    return b"".join(bytes(packet) for packet in packets)


def decode_grey(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture (H, W) of `size`; raises `PayloadError`."""
    av = _av()
    decoder = av.CodecContext.create("hevc", "r")
    decoder.thread_count = 1
    aligned = tuple(-(-n // 64) * 64 for n in size)
    decoder.options = {"max_pixels": str(aligned[0] * aligned[1])}
    frames: list[Any] = []
    try:
        for packet in [*decoder.parse(data), *decoder.parse(None)]:
            frames += decoder.decode(packet)
        frames += decoder.decode(None)
    except (av.error.FFmpegError, ValueError) as error:
        raise PayloadError(f"hevc tiles: {error}") from None
    if len(frames) != 1 or (frames[0].height, frames[0].width) != size or frames[0].format.name != "gray":
        found = [(frame.height, frame.width, frame.format.name) for frame in frames[:2]]
        raise PayloadError(f"hevc tiles: expected one grey picture of {size}, got {found}")
    return np.asarray(frames[0].to_ndarray(), np.uint8)


def _av() -> Any:
    reason = missing_hevc()
    if reason is not None:
        raise CodecError(reason)
    return importlib.import_module("av")
