"""Operators whose multiply-adds are not known: their time on this host, a bound of it elsewhere, and when to refuse.

They are never priced as nothing. Where the network was profiled their seconds are measured; on a modelled device they
take at most the measured seconds, times how much slower that device is at the kind of work that suits it least.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine.device import Compute, Device
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.units import format_fraction

__all__ = ["UNCOUNTED_SHARE", "bound_uncounted", "refuse_uncounted", "uncounted_seconds", "uncounted_share"]


def __dir__() -> list[str]:
    return __all__


UNCOUNTED_SHARE = 0.1  # of the time measured on the host: above it a modelled device's seconds would be a guess
_RATES = ("dense_macs_s", "pointwise_macs_s", "depthwise_macs_s", "matmul_macs_s", "bytes_s")  # fields of Compute


def uncounted_seconds(graph: ModelGraph, profile: ModelProfile) -> dict[int, float]:
    """Measured seconds of the nodes without a count, by index.

    In the `profile` of another network (a variant was not profiled) a node is found by its name; one that is new takes
    as long as the slowest that is known.
    """
    measured = {timing.name: timing.seconds for timing in profile.nodes}
    nodes = [node for node in graph.nodes if node.macs is None]
    slowest = max((measured[node.name] for node in nodes if node.name in measured), default=profile.whole.min_s)
    return {node.index: measured.get(node.name, slowest) for node in nodes}


def bound_uncounted(
    node_s: NDArray[np.float64], device: Device, host: Device, seconds: Mapping[int, float]
) -> NDArray[np.float64]:
    """`node_s` of a modelled device with a bound for each node of `seconds`, which are those on `host`."""
    slower = max(_slower(device.compute, host.compute, rate) for rate in _RATES)
    bounded = node_s.copy()
    for index, host_s in seconds.items():
        bounded[index] = max(node_s[index], device.compute.node_overhead_s + slower * host_s)
    return bounded


def uncounted_share(graph: ModelGraph, profile: ModelProfile) -> float:
    """Share of the time measured on the host that operators without a count took."""
    return sum(uncounted_seconds(graph, profile).values()) / sum(timing.seconds for timing in profile.nodes)


def refuse_uncounted(graph: ModelGraph, profile: ModelProfile, *, device: str) -> None:
    """Raise `ProfileError` when too much of the network's time is of operators that no model of `device` can price."""
    share = uncounted_share(graph, profile)
    if share > UNCOUNTED_SHARE:
        names = ", ".join(graph.uncounted)
        raise ProfileError(
            f"{format_fraction(share)} of the network's time on this host is of operators without a count of their"
            f" multiply-adds ({names}), so its seconds on {device} cannot be predicted",
            at=graph.name,
            fix="add --device host --server host, where all operators are measured, or export the model without them",
        )


def _slower(device: Compute, host: Compute, rate: str) -> float:
    return float(getattr(host, rate)) / float(getattr(device, rate))
