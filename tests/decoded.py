"""What every decoder of arbitrary bytes owes: tensors of its specs, or an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from splitpoint.codecs.contract.protocol import Array, TensorSpec


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
