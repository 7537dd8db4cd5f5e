"""Quantization tables of JPEG: those of the standard, those of a quality, and tables that follow a network.

Noise of covariance diag(q^2 / 12) in the coefficients of the 8x8 DCT moves the largest outputs by sum_k S_k q_k^2 / 12,
with S_k the mean square of their gradients by coefficient k. Equal S_k q_k^2 spends the bits best where steps are small
beside the coefficients (reverse water-filling). Most coefficients of a photograph are zero, and one that is zero costs
its whole power, not q^2 / 12; the exponent 3/4 in place of 1/2 was as good or better at the sizes at which pictures are
sent (docs/codecs.md has what it saves).

References: ITU-T T.81 (JPEG), Annex K; ITU-T T.871 (JFIF), section 7.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np

from splitpoint.codecs.contract.dct import dct
from splitpoint.codecs.contract.protocol import Array, FitError

__all__ = ["COEFFICIENTS", "LARGEST_STEP", "STANDARD", "QuantTables", "fit_tables", "scale_tables"]


def __dir__() -> list[str]:
    return __all__


SIDE = 8
COEFFICIENTS = SIDE * SIDE
LARGEST_STEP = 2550  # the finest quality takes a tenth of it, and a baseline file has 8 bits for a step
FALL = 0.75  # the step of a coefficient falls with its sensitivity to this power
LEAST_SENSITIVITY = 1e-6  # beside the mean of the more sensitive plane: gradients say nothing of less

Steps = Annotated[
    tuple[Annotated[int, msgspec.Meta(ge=1, le=LARGEST_STEP)], ...],
    msgspec.Meta(min_length=COEFFICIENTS, max_length=COEFFICIENTS),
]


class QuantTables(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Steps at quality 50, in levels of 8 bits: rows of rising vertical, columns of rising horizontal frequency."""

    luma: Steps  # (64,)
    chroma: Steps  # (64,), of both


# T.81, tables K.1 and K.2: what libjpeg scales by a quality.
STANDARD = QuantTables(
    luma=(
        *(16, 11, 10, 16, 24, 40, 51, 61),
        *(12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56),
        *(14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77),
        *(24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101),
        *(72, 92, 95, 98, 112, 100, 103, 99),
    ),
    chroma=(
        *(17, 18, 24, 47, 99, 99, 99, 99),
        *(18, 21, 26, 66, 99, 99, 99, 99),
        *(24, 26, 56, 99, 99, 99, 99, 99),
        *(47, 66, 99, 99, 99, 99, 99, 99),
        *(99, 99, 99, 99, 99, 99, 99, 99),
        *(99, 99, 99, 99, 99, 99, 99, 99),
        *(99, 99, 99, 99, 99, 99, 99, 99),
        *(99, 99, 99, 99, 99, 99, 99, 99),
    ),
)


def scale_tables(tables: QuantTables, quality: int) -> tuple[list[int], list[int]]:
    """The steps 1..255 of a file, of luma and of chroma, at `quality` 1..100: libjpeg's rule."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    luma, chroma = (
        [min(max((step * percent + 50) // 100, 1), 255) for step in steps] for steps in (tables.luma, tables.chroma)
    )
    return luma, chroma


def fit_tables(gradients: Array) -> QuantTables:
    """Tables from gradients of a network's largest outputs by the 8-bit levels of pictures, (M, H, W, 3 or 1).

    At every quality the network sees as much noise as with the tables of the standard, to first order. Raises
    `FitError` where the outputs do not depend on the picture.
    """
    if not (np.isfinite(gradients).all() and gradients.any()):
        raise FitError("the outputs do not depend on the picture's levels")
    if gradients.shape[3] == 1:
        planes = [gradients[..., 0]]
    else:  # T.871, section 7: R = Y + 1.402 Cr, G = Y - 0.3441 Cb - 0.7141 Cr, B = Y + 1.772 Cb
        red, green, blue = (gradients[..., c].astype(np.float64) for c in range(3))
        planes = [red + green + blue, 1.772 * blue - 0.344136 * green, 1.402 * red - 0.714136 * green]
    powers = [_power(plane) for plane in planes]
    luma, chroma = powers[0], (powers[1] + powers[2]) / 2 if len(powers) > 1 else powers[0]
    mean = max(float(luma.mean()), float(chroma.mean()))
    sensitivities = [np.maximum(power / mean, LEAST_SENSITIVITY) for power in (luma, chroma)]
    planes_of = (1, len(planes) - 1)  # how many have each table
    relative = [sensitivity**-FALL for sensitivity in sensitivities]
    standard = [np.array(steps, np.float64) for steps in (STANDARD.luma, STANDARD.chroma)]

    def noise(tables: list[Array]) -> float:
        parts = zip(planes_of, sensitivities, tables, strict=True)
        return sum(count * float(sensitivity @ np.square(steps)) for count, sensitivity, steps in parts)

    scale = np.sqrt(noise(standard) / noise(relative))
    fitted = [np.clip(np.rint(scale * steps), 1, LARGEST_STEP).astype(int).tolist() for steps in relative]
    return QuantTables(luma=tuple(fitted[0]), chroma=tuple(fitted[1]))


def _power(plane: Array) -> Array:
    """(64,): the mean square of the gradients (M, H, W) by each coefficient of the blocks, which begin at the corner.

    What a block has beyond the picture moves nothing.
    """
    height, width = (-(-n // SIDE) for n in plane.shape[1:])
    padded = np.zeros((len(plane), SIDE * height, SIDE * width))
    padded[:, : plane.shape[1], : plane.shape[2]] = plane
    blocks = padded.reshape(len(plane), height, SIDE, width, SIDE).transpose(0, 1, 3, 2, 4)
    basis = dct(SIDE)
    return np.asarray(np.square(basis @ blocks @ basis.T).mean(axis=(0, 1, 2)).reshape(COEFFICIENTS))
