"""What a fitted profile does not know of a network: the error that its operators add to that of usual networks.

A profile fitted to latencies of whole networks knows a cost (seconds a multiply-add, a byte, an operator) as well as
those networks told it: C is the posterior covariance of the costs' logarithms. The logarithm of the seconds of some
nodes, of which the cost j takes the share v_j, has the variance v' C v then. That of networks like the fitted ones is
in the profile's `interval_factor`; what is beyond it is added (docs/notes/choice.md, eq. (12)).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.cost.anchored import NINETY
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.units import format_fraction

__all__ = ["Coverage"]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]

NOTED = 0.05  # of the logarithm: below it an interval is hardly wider


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Coverage:
    """How the nodes of one graph divide among the costs of one fitted device, and how well each is known."""

    node_s: Floats  # (nodes, costs)
    covariance: Floats  # (costs, costs), of the logarithms after the fit
    usual_variance: float  # of the logarithm of the seconds of networks like those of the fit
    largest_share: Floats  # (costs,): of the seconds of any network of the fit

    def extra_error(self, nodes: Sequence[int]) -> float:
        """Standard error of the logarithm of the seconds of these nodes beyond the profile's."""
        if not len(nodes):
            return 0.0
        share = self._share(nodes)
        return math.sqrt(max(0.0, float(share @ self.covariance @ share) - self.usual_variance))  # Eq. (12)

    def unlike_share(self, nodes: Sequence[int]) -> float:
        """How much of the seconds of these nodes is in costs beyond the share that any network of the fit has there."""
        return float(np.maximum(0.0, self._share(nodes) - self.largest_share).sum()) if len(nodes) else 0.0

    def note(self, nodes: Sequence[int], device: Device) -> str | None:
        """Why the interval of these nodes is wider than the profile's; None where it is not, or hardly."""
        extra = self.extra_error(nodes)
        if device.interval_factor is None or extra < NOTED:
            return None
        factor = math.exp(math.hypot(math.log(device.interval_factor), NINETY * extra))
        return (
            f"{device.name}: {format_fraction(self.unlike_share(nodes))} of the network's time there is in operators"
            " that the published networks of its fit have less of: its seconds are within"
            f" {factor:.3g}x in 90 % of cases, those of other networks within {device.interval_factor:.3g}x"
        )

    def _share(self, nodes: Sequence[int]) -> Floats:
        seconds = self.node_s[list(nodes)].sum(axis=0)
        return np.asarray(seconds / max(float(seconds.sum()), 1e-30))
