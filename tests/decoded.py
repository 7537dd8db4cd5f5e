"""What every decoder of arbitrary bytes owes: tensors of its specs, or an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from splitpoint.codecs.contract.protocol import Array, TensorSpec
from splitpoint.codecs.learned.bottleneck_coder import BottleneckCoder
from splitpoint.codecs.learned.switch_coder import SwitchCoder


def check_tensors(specs: Sequence[TensorSpec], decoded: Mapping[str, Array]) -> None:
    """Shapes, types, ranges, and no number that is not finite."""
    assert set(decoded) == {spec.name for spec in specs}
    for spec in specs:
        values = decoded[spec.name]
        assert values.shape == spec.shape
        assert values.dtype == spec.dtype
        if spec.low is not None and spec.high is not None:
            assert spec.low <= values.min()
            assert values.max() <= spec.high
        else:
            assert np.isfinite(values).all()


def sent(coder: object, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """What a lossless payload of `tensors` contains: all of them, or of a switch the channels of its rate.

    Of a bottleneck the coarser symbols of its rate, which tests/codecs/learned/test_bottleneck_coder.py computes, too.
    """
    if isinstance(coder, BottleneckCoder):
        return {**coder.kept(tensors), "rate": np.array([coder.rate])}
    if not isinstance(coder, SwitchCoder):
        return dict(tensors)
    symbols = tensors["symbols"].copy()
    symbols[:, coder.widths[coder.rate] :] = 0
    return {"symbols": symbols, "rate": np.array([coder.rate])}
