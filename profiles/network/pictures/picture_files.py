"""Picture files of any format and mode as upright pictures of 8 bits in RGB or grey."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from splitpoint.profiles.errors import ProfileError

__all__ = ["DamagedPictureError", "has_colour", "open_picture"]


def __dir__() -> list[str]:
    return __all__


COLOUR_SIDE = 64  # about: the size at which a picture is looked at for colour
LEAST_COLOUR = 8  # levels between channels: below are rounding and JPEG's chroma of a grey picture
REMOVE = "remove or replace it"
LARGEST_PIXELS = 200_000_000  # a larger picture is refused before it is decoded (decompression bombs)


class DamagedPictureError(ProfileError):
    """A file that should be a picture and cannot be read as one."""


def open_picture(path: Path) -> Image.Image:
    """The whole picture, upright (EXIF) and on white where it is transparent, in mode L or RGB.

    Raises `DamagedPictureError` for a file that is no whole picture, `ProfileError` for one that is missing, may not be
    read or is too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata; what cannot be read is an error below
            with Image.open(path) as opened:
                if opened.width * opened.height > LARGEST_PIXELS:
                    raise ProfileError(
                        f"{opened.width}x{opened.height} pixels is above {LARGEST_PIXELS:,}", at=str(path)
                    )
                if opened.mode == "F":
                    raise ProfileError(
                        "a picture of floats: which of them is white is not known",
                        at=str(path),
                        fix="convert it to 8 or 16 bits a channel",
                    )
                return _on_white(ImageOps.exif_transpose(opened))
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
