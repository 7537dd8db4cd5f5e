"""The range of a plan's payloads, from its files: every input clean, then under every corruption of its kind."""

from __future__ import annotations

import math
from collections.abc import Sequence

from splitpoint.codecs.contract.protocol import CodecError
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import PayloadRange
from splitpoint.planner.quality.corruptions import corrupt, corruption_names
from splitpoint.planner.samples.dataset import Dataset, Sample
from splitpoint.profiles.errors import ProfileError

__all__ = ["measure_payload_range", "nearest_rank"]


def __dir__() -> list[str]:
    return __all__


CORRUPTED = 32  # inputs under each corruption: a few seconds of a head
SHARE = 0.95  # of the payloads that are no longer


def measure_payload_range(
    plan: Plan, dataset: Dataset, clean: Sequence[int], *, inputs: int = CORRUPTED
) -> PayloadRange:
    """The range of `clean`, the payloads' lengths of all of `dataset`, and of at most `inputs` inputs corrupted.

    The inputs are spread evenly over `dataset`. A plan without a tail sends nothing: its lengths are 0. Corrupted
    inputs that the head refuses are counted, not measured.
    """
    count = min(inputs, len(dataset))
    samples = [dataset.samples[len(dataset) * i // count] for i in range(count)]
    names = corruption_names(samples[0].arrays, picture=samples[0].picture is not None)
    sent = plan.file.placement != "device"
    corrupted = [_length(plan, sample, name, i) if sent else 0 for i, sample in enumerate(samples) for name in names]
    lengths = [length for length in corrupted if length is not None] or [0]
    return PayloadRange(
        clean_p95_bytes=nearest_rank(clean, SHARE),
        clean_max_bytes=max(clean),
        n=len(clean),
        corrupted_p95_bytes=nearest_rank(lengths, SHARE),
        corrupted_max_bytes=max(lengths),
        corruptions=names,
        corrupted_n=count,
        refused=corrupted.count(None),
    )


def nearest_rank(values: Sequence[int], share: float) -> int:
    """The least of `values` (at least one) that a `share` of them do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _length(plan: Plan, sample: Sample, name: str, seed: int) -> int | None:
    """Bytes of the payload of the sample under a corruption; None where the head gives none."""
    arrays = corrupt(sample.arrays, name, seed, picture=sample.picture is not None)
    try:
        return len(plan.head(arrays if sample.tensors is not None else arrays[""]))
    except (CodecError, ProfileError):
        return None
