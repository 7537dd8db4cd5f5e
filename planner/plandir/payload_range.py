"""The range of a plan's payloads, from its files: every input clean, then under every corruption of its kind."""

from __future__ import annotations

import math
from collections.abc import Sequence

from splitpoint.codecs.contract.protocol import CodecError
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import PayloadRange
from splitpoint.planner.plandir.report import plan_input
from splitpoint.planner.quality.corruptions import corrupt, corruption_names
from splitpoint.planner.samples.dataset import Dataset, Sample
from splitpoint.profiles.errors import ProfileError

__all__ = ["measure_payload_range", "nearest_rank"]


def __dir__() -> list[str]:
    return __all__


SHARE = 0.95  # of the payloads that are no longer


def measure_payload_range(plan: Plan, dataset: Dataset, *, inputs: int = 64) -> PayloadRange:
    """Lengths of what `plan.head` gives for at most `inputs` inputs, spread evenly over `dataset`.

    A plan without a tail sends nothing: its lengths are 0. Corrupted inputs that the head refuses are counted, not
    measured; raises `CodecError` for a clean one.
    """
    count = min(inputs, len(dataset))
    samples = [dataset.samples[len(dataset) * i // count] for i in range(count)]
    names = corruption_names(samples[0].arrays, picture=samples[0].picture is not None)
    sent = plan.file.placement != "device"
    clean = [len(plan.head(plan_input(plan, sample))) if sent else 0 for sample in samples]
    corrupted = [_length(plan, sample, name, i) if sent else 0 for i, sample in enumerate(samples) for name in names]
    lengths = [length for length in corrupted if length is not None] or [0]
    return PayloadRange(
        clean_p95_bytes=nearest_rank(clean, SHARE),
        clean_max_bytes=max(clean),
        corrupted_p95_bytes=nearest_rank(lengths, SHARE),
        corrupted_max_bytes=max(lengths),
        corruptions=names,
        n=count,
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
