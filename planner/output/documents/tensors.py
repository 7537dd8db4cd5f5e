"""The tensors at the cuts in the document of ``splitpoint profile --data``: statistics of each, one row a tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from splitpoint.planner.output.documents.document import Value
from splitpoint.planner.profiling.compressibility import Compressibility
from splitpoint.planner.values.cut import Cut

__all__ = ["TensorRow", "TensorsPart", "tensors_part"]


def __dir__() -> list[str]:
    return __all__


class TensorRow(Value, frozen=True, kw_only=True):
    """Statistics of one tensor; what is estimated has "estimated" in its name."""

    index: int  # of the cut
    layer: str  # the module that ends here, or the operator
    after: str
    tensor: str
    shape: tuple[int, ...]
    elements: int
    zero_fraction: float
    low: float
    high: float
    entropy_bit: Mapping[str, float]  # bits of the quantizer -> bits a value
    sqnr_db: Mapping[str, float | None]  # bits of the quantizer -> dB; None: no error at all
    histogram: tuple[int, ...]
    channels: int
    components_95: int | None  # channel components with 95 % of the variance
    components_99: int | None
    spectrum: tuple[float, ...] | None
    correlation: float | None
    scalar_estimated_bit: float | None
    klt_estimated_bit: float | None


class TensorsPart(Value, frozen=True, kw_only=True):
    """The tensors at every cut, or at one."""

    inputs: int
    target_db: float  # the SQNR of the estimates
    notes: tuple[str, ...]
    cuts: tuple[TensorRow, ...]


def tensors_part(
    cuts: Sequence[Cut], measured: Mapping[str, Compressibility], *, target_db: float, assumed: str | None
) -> TensorsPart:
    """One row for each tensor of each cut; `assumed` is what was guessed about the inputs."""
    return TensorsPart(
        inputs=next(iter(measured.values())).inputs,
        target_db=target_db,
        notes=() if assumed is None else (assumed,),
        cuts=tuple(_row(cut, measured[name], target_db) for cut in cuts for name in cut.tensors),
    )


def _row(cut: Cut, statistics: Compressibility, target_db: float) -> TensorRow:
    spectrum = statistics.spectrum
    return TensorRow(
        index=cut.index,
        layer=cut.layer or cut.after,
        after=cut.after,
        tensor=statistics.tensor,
        shape=statistics.shape,
        elements=statistics.elements,
        zero_fraction=statistics.zero_fraction,
        low=statistics.low,
        high=statistics.high,
        entropy_bit={str(bits): value for bits, value in statistics.entropy_bit.items()},
        sqnr_db={str(bits): value if math.isfinite(value) else None for bits, value in statistics.sqnr_db.items()},
        histogram=statistics.histogram,
        channels=statistics.channels,
        components_95=statistics.components(0.95),
        components_99=statistics.components(0.99),
        spectrum=None if spectrum is None else tuple(float(value) for value in spectrum),
        correlation=statistics.correlation,
        scalar_estimated_bit=statistics.scalar_estimated_bit(target_db),
        klt_estimated_bit=statistics.klt_estimated_bit(target_db),
    )
