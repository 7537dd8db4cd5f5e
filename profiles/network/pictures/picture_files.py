"""Picture files of any format and mode as upright pictures of 8 bits in RGB or grey.

`PIL.Image.open` warns of large pictures, and Pillow's reader of EXIF of damaged ones; the filters of warnings belong to
the whole process, so both are left out: the formats are tried here, and of EXIF only the orientation is read. What
Pillow says of rare formats (TIFF with damaged tags, PNG with a damaged animation) is left to the caller's filters.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from splitpoint.profiles.errors import ProfileError

__all__ = ["DamagedPictureError", "has_colour", "open_picture", "opened_picture", "picture_size"]


def __dir__() -> list[str]:
    return __all__


COLOUR_SIDE = 64  # about: the size at which a picture is looked at for colour
LEAST_COLOUR = 8  # levels between channels: below are rounding and JPEG's chroma of a grey picture
REMOVE = "remove or replace it"
LARGEST_PIXELS = 200_000_000  # a larger picture is refused before it is decoded (decompression bombs)
ORIENTATION = 0x0112  # EXIF's tag
TYPE_BYTES = {3: 2, 4: 4}  # of EXIF's types SHORT and LONG
UPRIGHT = {  # what turns a picture of that orientation upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # orientations that exchange width and height


class DamagedPictureError(ProfileError):
    """A file that should be a picture and cannot be read as one."""


def open_picture(path: Path) -> Image.Image:
    """The whole picture, upright (EXIF) and on white where it is transparent, in mode L or RGB.

    Raises `DamagedPictureError` for a file that is no whole picture, `ProfileError` for one that is missing, may not be
    read or is too large.
    """
    try:
        with opened_picture(path) as opened:
            if opened.width * opened.height > LARGEST_PIXELS:
                raise ProfileError(f"{opened.width}x{opened.height} pixels is above {LARGEST_PIXELS:,}", at=str(path))
            if opened.mode == "F":
                raise ProfileError(
                    "a picture of floats: which of them is white is not known",
                    at=str(path),
                    fix="convert it to 8 or 16 bits a channel",
                )
            return _on_white(_upright(opened))
    except ProfileError:
        raise
    except FileNotFoundError:
        raise ProfileError("there is no such picture", at=str(path)) from None
    except (PermissionError, IsADirectoryError) as error:
        raise ProfileError(f"this picture cannot be read: {error.strerror}", at=str(path)) from error
    except UnidentifiedImageError:
        raise DamagedPictureError("this file is not a picture that Pillow knows", at=str(path), fix=REMOVE) from None
    except Image.DecompressionBombError as error:
        raise ProfileError(str(error), at=str(path)) from error
    except Exception as error:  # Pillow's readers raise whatever a damaged header leads them to
        raise DamagedPictureError(f"this picture is damaged: {error}", at=str(path), fix=REMOVE) from error


def has_colour(image: Image.Image) -> bool:
    """Whether a picture in L or RGB has any colour beyond rounding."""
    if image.mode == "L":
        return False
    small = np.asarray(image.convert("RGB").reduce(max(1, min(image.size) // COLOUR_SIDE)), np.int16)
    return bool((small.max(axis=2) - small.min(axis=2)).max() > LEAST_COLOUR)


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) of the upright picture, from its header; raises what Pillow raises."""
    with opened_picture(path) as opened:
        width, height = opened.size
        return (height, width) if _orientation(opened) in SIDEWAYS else (width, height)


class _Jpeg(JpegImagePlugin.JpegImageFile):
    """A JPEG file whose EXIF is not read on opening (Pillow looks there for dots per inch)."""

    def getexif(self) -> Image.Exif:
        """Nothing."""
        return Image.Exif()


@contextlib.contextmanager
def opened_picture(path: Path) -> Iterator[ImageFile]:
    """The picture of a file, which may be named by text, as `Image.open` gives it: not decoded yet.

    Raises what Pillow raises.
    """
    with Path(path).open("rb") as stream, _identify(stream) as image:
        yield image


def _identify(stream: BinaryIO) -> ImageFile:
    """The picture, not yet decoded, by the first format that takes it, the usual formats first (as `Image.open`)."""
    prefix = stream.read(16)
    tried: set[str] = set()
    for load_plugins in (Image.preinit, Image.init):
        load_plugins()
        for name in [name for name in Image.ID if name not in tried]:
            tried.add(name)
            factory, accepts = Image.OPEN[name]
            try:
                if accepts is not None and accepts(prefix) is not True:
                    continue  # another format, or one whose library Pillow was built without
                stream.seek(0)
                return _Jpeg(stream, "") if name == "JPEG" else factory(stream, "")
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue
    raise UnidentifiedImageError


def _upright(image: ImageFile) -> Image.Image:
    image.load()
    method = UPRIGHT.get(_orientation(image))
    return image.copy() if method is None else image.transpose(method)


def _orientation(image: ImageFile) -> int:
    """1 to 8 by EXIF, or else by XMP, 1 without; Pillow turns a TIFF picture itself when it is decoded."""
    if hasattr(image, "tag_v2"):
        return 1
    exif = image.info.get("exif")
    if exif is None and "Raw profile type exif" in image.info:  # PNG, as ImageMagick writes it
        exif = bytes.fromhex("".join(image.info["Raw profile type exif"].split("\n")[3:]))
    found = None if exif is None else _exif_orientation(exif)
    return _xmp_orientation(image) if found is None else found


def _exif_orientation(data: bytes) -> int | None:
    """The orientation among the tags of the first directory of EXIF's TIFF structure; None where there is none."""
    data = re.sub(b"^(Exif\0\0){1,2}", b"", data)
    if data[:2] not in (b"II", b"MM"):
        return None
    order = "<" if data[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(f"{order}L", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", data, at)
            if tag == ORIENTATION and kind in TYPE_BYTES:
                value = data[at + 8 : at + 8 + TYPE_BYTES[kind]]
                return int.from_bytes(value, "little" if order == "<" else "big")
    except struct.error:  # it ends inside a tag
        pass
    return None


def _xmp_orientation(image: ImageFile) -> int:
    text = image.info.get("XML:com.adobe.xmp") or image.info.get("xmp") or b""
    data = text.encode() if isinstance(text, str) else text
    found = re.search(rb'tiff:Orientation(?:="|>)([0-9])', data)
    return int(found[1]) if found else 1


def _on_white(image: Image.Image) -> Image.Image:
    """Without transparency: alpha is blended onto white, as viewers show it."""
    if image.mode in ("La", "RGBa"):  # colours multiplied by alpha
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba).convert("RGB")
    if image.mode.startswith("I;16") or image.mode == "I":  # 16-bit gray: keep the high byte, Pillow would clip
        return Image.fromarray((np.asarray(image, dtype=np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")
