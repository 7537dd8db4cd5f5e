"""What a model's input is: the `input:` block, reading pictures, and the exact step from a picture to the network.

Two stages, because they can be on two machines. `read_picture` gives the *resized* picture: uint8, (H, W, C), RGB or
gray, exactly the network's size; PNG, JPEG and WebP code this. `preprocess` turns it into the network's input; it is
the device's work when the cut is inside the network and the server's when the picture is sent.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.pictures.geometry import place_picture
from splitpoint.profiles.network.pictures.picture_files import (
    has_colour,
    open_picture,
    opened_picture,
    picture_size,
)

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LARGEST_SIDE",
    "LARGEST_TENSOR",
    "RESAMPLING",
    "InputSpec",
    "Picture",
    "PictureChanges",
    "check_against",
    "guess_spec",
    "guess_specs",
    "has_image_layout",
    "is_guess_of_levels",
    "level_gradients",
    "preprocess",
    "preprocess_batch",
    "read_mask",
    "read_picture",
    "read_picture_file",
]


def __dir__() -> list[str]:
    return __all__


Picture = NDArray[np.uint8]  # (H, W, C), RGB or gray
Level = Annotated[int, msgspec.Meta(ge=0, le=255)]

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # torchvision's, in units of 0..1
LARGEST_SIDE = 16384  # pixels, of the network's input
LARGEST_TENSOR = 2**28  # elements of one: 1 GiB of float32
# Bounds for schemas, checked below: msgspec 0.22 crashes on a constrained int beside a fixed tuple.
Pixels = Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 1, "maximum": LARGEST_SIDE})]
Positive = Annotated[float, msgspec.Meta(extra_json_schema={"exclusiveMinimum": 0})]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PictureChanges:
    """What reading did to a picture file that a user may not expect."""

    grey: bool  # no colour for a network that takes colour
    colour_lost: bool  # colour for a network that takes grey
    scale: float  # side of the picture that the network sees / side in the file; below 1: reduced
    stretch: float  # the greater of the two sides' scales / the smaller; 1: proportions kept
    cropped: float  # share of the picture's area that was cut off


class InputSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `input:` block. For an image, x = (picture / scale - mean) / std, with picture in 0..255.

    torchvision's numbers are ``scale: 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]``; a network that
    wants (picture - 127) / 128 has ``mean: 127, std: 128``; both are in the order of the network's channels.
    A tensor has only `dtype`; its values come as they are. Tensors (several inputs) have the types of the network.
    """

    # tensor: values as they are, with dtype and no other field; tensors: those of several inputs, with none.
    kind: Literal["image", "tensor", "tensors"] = "image"
    size: Pixels | tuple[Pixels, Pixels] | None = None  # of the network's input: a square's side, or [height, width]
    # Shorter side in pixels; cover: as small as covers size; exact: stretched to it.
    resize: Pixels | Literal["cover", "exact"] = "cover"
    # What resize leaves beside size is cut off; none: such a picture is refused.
    crop: Literal["center", "none"] = "center"
    letterbox: Level | None = None  # fit inside size and pad with this level; takes the place of resize and crop
    letterbox_at: Literal["center", "corner"] = "center"  # where the picture goes; corner = top left (YOLOX)
    resample: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"  # how pixels between pixels are found
    color: Literal["rgb", "bgr", "gray"] = "rgb"  # order of the network's channels
    scale: Positive = 1.0  # x = (picture / scale - mean) / std
    mean: float | tuple[float, ...] = 0.0  # of all channels, or of each
    std: Positive | tuple[Positive, ...] = 1.0  # of all channels, or of each
    layout: Literal["NCHW", "NHWC"] = "NCHW"  # order of the network's axes
    dtype: Literal[  # what the network takes; of a picture float32, float16 or uint8
        "float32", "float16", "float64", "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "int64"
    ] = "float32"

    def __post_init__(self) -> None:
        """Refuse what contradicts itself; msgspec adds the place in the file."""
        if self.kind != "image":
            self._refuse_image_fields()
            return
        if self.size is None:
            raise ProfileError("an image input needs its size", fix="add size: 224, or size: [height, width]")
        if self.dtype not in ("float32", "float16", "uint8"):
            raise ProfileError(f"an image input is float32, float16 or uint8, got {self.dtype}")
        height, width = self.height_width
        if not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE):
            raise ProfileError(f"size must be 1 to {LARGEST_SIDE} pixels a side, got {self.size}")
        if height * width * self.channels > LARGEST_TENSOR:
            raise ProfileError(f"an input has at most {LARGEST_TENSOR} elements, got {_by(self.shape)}")
        if isinstance(self.resize, int) and not 0 < self.resize <= LARGEST_SIDE:
            raise ProfileError(f"resize must be 1 to {LARGEST_SIDE} pixels, got {self.resize}")
        if isinstance(self.resize, int) and self.letterbox is None and self.resize < min(height, width):
            raise ProfileError(f"resize {self.resize} is smaller than the size {height}x{width} that is cut out of it")
        self._check_numbers()

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of the network's input, pixels; images only."""
        if self.size is None:
            raise ProfileError("an input that is no picture has no picture size")
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def channels(self) -> int:
        """Channels of the picture: 1 for gray, else 3."""
        return 1 if self.color == "gray" else 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the network's input, batch axis 1 included; images only."""
        height, width = self.height_width
        return (1, self.channels, height, width) if self.layout == "NCHW" else (1, height, width, self.channels)

    def _refuse_image_fields(self) -> None:
        for field in msgspec.structs.fields(self):
            known = ("kind", "dtype") if self.kind == "tensor" else ("kind",)
            if field.name not in known and getattr(self, field.name) != field.default:
                raise ProfileError(f"{field.name} is not for an input of kind: {self.kind}", fix="remove it")

    def _check_numbers(self) -> None:
        for name in ("mean", "std"):
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            if isinstance(value, tuple) and len(value) != self.channels:
                raise ProfileError(f"{name} needs 1 or {self.channels} numbers for {self.color}, got {len(value)}")
            if not all(math.isfinite(v) for v in values) or (name == "std" and any(v <= 0 for v in values)):
                raise ProfileError(f"{name} must be finite{' and above 0' if name == 'std' else ''}, got {value}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ProfileError(f"scale must be finite and above 0, got {self.scale}")
        with np.errstate(all="ignore"):
            if not np.isfinite(_levels(self)).all():
                raise ProfileError(f"scale, mean and std make levels that {self.dtype} does not have", fix="larger std")
        means = self.mean if isinstance(self.mean, tuple) else (self.mean,)
        plain = self.scale == 1.0 and self.std == 1.0 and all(m == 0 for m in means)
        if self.dtype == "uint8" and not plain:
            raise ProfileError("a uint8 network takes the picture as it is; scale, mean and std belong to float inputs")
        if self.scale == 1.0 and all(0 < m <= 1 for m in means):
            raise ProfileError(
                f"mean {self.mean} is in units of 0..1, but the picture is in 0..255",
                fix="add scale: 255 when mean and std are given in units of 0..1",
            )


def read_picture(path: Path, spec: InputSpec) -> Picture:
    """Read, turn upright (EXIF), convert, resize and crop a picture file: uint8 (H, W, C) of the network's size.

    Raises `ProfileError` naming the file when it is missing, too large or, under ``crop: none``, does not fit, and
    `DamagedPictureError` when it is damaged.
    """
    return read_picture_file(path, spec)[0]


def read_picture_file(path: Path, spec: InputSpec) -> tuple[Picture, PictureChanges]:
    """As `read_picture`, with what was changed."""
    if spec.kind != "image":
        raise ProfileError("the input is a tensor, so picture files cannot be read", at=str(path))
    image = open_picture(path)
    coloured = has_colour(image)
    image = image.convert("L" if spec.color == "gray" else "RGB")
    picture = np.asarray(_fit(image, spec, str(path)), dtype=np.uint8)
    width, height = place_picture(image.width, image.height, spec).resized
    scales = width / image.width, height / image.height
    rows, columns = spec.height_width
    changes = PictureChanges(
        grey=spec.color != "gray" and not coloured,
        colour_lost=spec.color == "gray" and coloured,
        scale=math.sqrt(scales[0] * scales[1]),
        stretch=max(scales) / min(scales) if spec.resize == "exact" and spec.letterbox is None else 1.0,
        cropped=1 - min(1.0, rows / height) * min(1.0, columns / width),
    )
    return np.ascontiguousarray(picture if picture.ndim == 3 else picture[:, :, None]), changes


def read_mask(path: Path, picture: Path, spec: InputSpec) -> NDArray[np.uint8]:
    """The mask (H, W) of a picture file, resized by nearest neighbour and cropped as the picture; 255 where padded.

    Its values are those of the file, of a palette the numbers. Raises `ProfileError` naming the mask when it is
    missing, damaged, in colour, or has other proportions than the picture.
    """
    own = msgspec.structs.replace(
        spec, resample="nearest", letterbox=None if spec.letterbox is None else 255, color="gray", mean=0.0, std=1.0
    )
    try:
        size = picture_size(picture)
        with opened_picture(path) as opened:
            opened.load()
            mask = Image.fromarray(np.asarray(opened).astype(np.uint8)) if opened.mode in ("1", "I;16") else opened
    except FileNotFoundError:
        raise ProfileError(f"no mask of {picture.name}", at=str(path), fix="a PNG with the picture's name") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ProfileError(f"this mask is damaged: {error}", at=str(path), fix="replace it") from error
    if mask.mode not in ("L", "P"):
        raise ProfileError(
            f"expected a mask of class numbers (mode L or P), got mode {mask.mode}",
            at=str(path),
            fix="write the number of the class as gray level, 255 where there is none",
        )
    values = Image.fromarray(np.asarray(mask))
    if abs(values.width * size[1] - values.height * size[0]) > max(*size, *values.size):  # more than one pixel
        raise ProfileError(
            f"the mask is {values.width}x{values.height}, its picture {size[0]}x{size[1]} (width x height)",
            at=str(path),
            fix="give masks of the pictures' size",
        )
    return np.asarray(_fit(values, own, str(path)), np.uint8)


def preprocess(picture: Picture, spec: InputSpec) -> NDArray[Any]:
    """The network's input of shape `spec.shape` for a picture (H, W, C), uint8, of the network's size.

    Every one of the 256 levels is computed in float64 and rounded once, so the result is the same on every machine.
    """
    return preprocess_batch(picture[None], spec)


def preprocess_batch(pictures: NDArray[np.uint8], spec: InputSpec) -> NDArray[Any]:
    """As `preprocess`, for pictures (N, H, W, C): N inputs along the first axis."""
    height, width = spec.height_width
    expected = (height, width, spec.channels)
    if pictures.shape[1:] != expected or pictures.dtype != np.uint8:
        raise ProfileError(f"expected a picture {expected} of uint8, got {pictures.shape[1:]} of {pictures.dtype}")
    planes = pictures[..., ::-1] if spec.color == "bgr" else pictures
    if spec.dtype == "uint8":
        values: NDArray[Any] = planes
    else:
        table = _levels(spec)  # (256, C)
        values = np.stack([table[planes[..., c], c] for c in range(spec.channels)], axis=-1)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if spec.layout == "NCHW" else values)


def level_gradients(gradients: NDArray[Any], spec: InputSpec) -> NDArray[np.float64]:
    """Gradients by the levels of a picture, (M, H, W, C), from those by the network's input, (M, ...) of a picture."""
    planes = gradients.transpose(0, 2, 3, 1) if spec.layout == "NCHW" else gradients
    # A level moves an input by 1 / (scale * std) of its channel, in the order of the network's channels.
    slopes = 1 / (spec.scale * np.broadcast_to(np.asarray(spec.std, np.float64), (spec.channels,)))
    levels = planes * slopes
    return levels[..., ::-1] if spec.color == "bgr" else levels


def check_against(spec: InputSpec, *, name: str, shape: Sequence[int], dtype: str) -> None:
    """Raise `ProfileError` unless the spec makes what the model's input `name` takes; `dtype` is a numpy name."""
    at = f"model input '{name}'"
    if spec.dtype != dtype:
        raise ProfileError(f"the model takes {dtype}, the input block makes {spec.dtype}", at=at, fix=f"dtype: {dtype}")
    if spec.kind == "image" and tuple(shape) != spec.shape:
        other: Literal["NCHW", "NHWC"] = "NHWC" if spec.layout == "NCHW" else "NCHW"
        relaid = tuple(shape) == msgspec.structs.replace(spec, layout=other).shape
        fix = f"layout: {other}" if relaid else "change size, color or layout of the input block"
        raise ProfileError(f"the model takes {_by(shape)}, the input block makes {_by(spec.shape)}", at=at, fix=fix)


def guess_specs(shape: Sequence[int], dtype: str) -> tuple[tuple[InputSpec, str], ...]:
    """The usual input blocks for a model input, likeliest first, each with the assumption in one line of text.

    With labels a caller can try them in turn; a model of the wrong scale has a visibly lower accuracy.
    """
    dims = tuple(shape)
    layout = _image_layout(dims, dtype)
    if layout is None:
        if dtype not in _TENSOR_TYPES:
            raise ProfileError(f"no input block for a model input of {dtype}", fix=f"use one of {list(_TENSOR_TYPES)}")
        spec = msgspec.convert({"kind": "tensor", "dtype": dtype}, InputSpec)
        return ((spec, f"assumed a tensor input {_by(dims)} of {dtype}, its values as they are in the data"),)
    size = (dims[2], dims[3]) if layout == "NCHW" else (dims[1], dims[2])
    channels = dims[1] if layout == "NCHW" else dims[3]
    base = {"size": size, "layout": layout, "dtype": dtype, "color": "gray" if channels == 1 else "rgb"}
    picture = f"{base['color']} picture {size[0]}x{size[1]}, {layout}"
    if dtype == "uint8":
        return ((msgspec.convert(base, InputSpec), f"assumed a {picture}, levels 0..255 as they are"),)
    choices: list[tuple[dict[str, Any], str]] = [
        ({"scale": 255.0}, "levels 0..1"),
        ({"mean": 127.5, "std": 127.5}, "levels -1..1"),
        ({}, "levels 0..255 as they are"),
    ]
    if channels == 3:
        normal = {"scale": 255.0, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
        choices.insert(1, (normal, "torchvision's ImageNet mean and standard deviation"))
    return tuple(
        (msgspec.convert({**base, **more}, InputSpec), f"assumed a {picture}, {text}") for more, text in choices
    )


def is_guess_of_levels(text: str) -> bool:
    """Whether a line of `guess_specs` guesses a picture's levels: a network may be far off with others."""
    return re.match(r"assumed an? \w+ picture .*, (levels -?\d|torchvision)", text) is not None


def guess_spec(shape: Sequence[int], dtype: str) -> tuple[InputSpec, str]:
    """The input block that assumes least for a model input, and the assumption as text to print."""
    spec, text = guess_specs(shape, dtype)[0]
    return spec, f"{text}{_OTHERWISE if spec.kind == 'image' else ''}"


_OTHERWISE = "; --input, --mean, --std, --scale, --color or an input: block say otherwise"
_TENSOR_TYPES = (
    *("float32", "float16", "float64", "bool"),
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64"),
)


def has_image_layout(dims: Sequence[int | str | None]) -> bool:
    """Whether a model input of these dimensions, free ones not numbers, has room for a picture of 1 or 3 channels."""
    if len(dims) != 4:
        return False
    nchw = dims[1] in (1, 3) and all(not isinstance(d, int) or d > 3 for d in dims[2:])
    nhwc = dims[3] in (1, 3) and all(not isinstance(d, int) or d > 3 for d in dims[1:3])
    return nchw or nhwc


def _image_layout(shape: tuple[int, ...], dtype: str) -> Literal["NCHW", "NHWC"] | None:
    if len(shape) != 4 or shape[0] != 1 or dtype not in ("float32", "float16", "uint8"):
        return None
    if shape[1] in (1, 3) and min(shape[2:]) > 3:
        return "NCHW"
    if shape[3] in (1, 3) and min(shape[1:3]) > 3:
        return "NHWC"
    return None


def _by(shape: Sequence[int]) -> str:
    return "x".join(str(d) for d in shape)


def _fit(image: Image.Image, spec: InputSpec, at: str) -> Image.Image:
    height, width = spec.height_width
    filter_ = RESAMPLING[spec.resample]
    placed = place_picture(image.width, image.height, spec)
    if math.prod(placed.resized) > LARGEST_TENSOR:
        raise ProfileError(
            f"{_by(image.size)} is resized to {_by(placed.resized)} pixels (width x height), at most {LARGEST_TENSOR}",
            at=at,
            fix="leave this picture out, or resize: exact or letterbox: 114 in the input block",
        )
    if spec.letterbox is None and spec.crop == "none" and placed.resized != (width, height):
        raise ProfileError(
            f"resized to {placed.resized[0]}x{placed.resized[1]} (width x height), the network takes {width}x{height}",
            at=at,
            fix="crop: center, resize: exact or letterbox: 114 in the input block",
        )
    if placed.resized != image.size or spec.letterbox is not None:
        image = image.resize(placed.resized, filter_)
    left, top = placed.offset
    if spec.letterbox is None:
        return image.crop((-left, -top, width - left, height - top))
    canvas = Image.new(image.mode, (width, height), spec.letterbox if spec.color == "gray" else (spec.letterbox,) * 3)
    canvas.paste(image, placed.offset)
    return canvas


def _levels(spec: InputSpec) -> NDArray[Any]:
    """(256, C): the network's value for each level of each channel, in the order of the network's channels."""
    level = np.arange(256, dtype=np.float64)[:, None]
    mean, std = (np.broadcast_to(np.asarray(v, np.float64), (spec.channels,)) for v in (spec.mean, spec.std))
    return ((level / spec.scale - mean) / std).astype(spec.dtype)
