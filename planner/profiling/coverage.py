"""The coverage of a network by the networks that a device was fitted to, from its profile alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.cost.coverage import Coverage
from splitpoint.planner.cost.price import op_work
from splitpoint.planner.profiling.published import (
    Kind,
    Prior,
    costs_of,
    features,
    load_prior,
    posterior_covariance,
)
from splitpoint.profiles.library.networks import backbone, published_networks
from splitpoint.profiles.machine.device import Device, OpWork
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["cover"]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]

PREFIX = "ncnn-"  # of the names of ncnn's networks in shipped profiles
GPU = frozenset({"Vulkan", "GPU"})  # providers of profiles that were fitted with the prior of GPUs


def cover(device: Device, network: ModelGraph | Sequence[OpWork]) -> Coverage | None:
    """How well `device` knows the costs of a network; None for a profile that was not fitted to known networks."""
    known = published_networks() if device.compute.kernels is not None and device.fitted_on else {}
    points = [
        (point.net.removeprefix(PREFIX), point.seconds)
        for point in device.fitted_on
        if point.net.removeprefix(PREFIX) in known
    ]
    if not points:
        return None
    unit: Kind = "gpu" if device.runtime.provider in GPU else "cpu"
    prior, logs = load_prior(unit), costs_of(device.compute, device.runtime.precision)
    amounts = np.stack([features(known[name]) for name, _ in points])
    seconds = np.array([each for _, each in points])
    covariance = posterior_covariance(amounts, seconds, prior, logs)
    costs = np.exp(logs)
    usual = _usual_variance([name for name, _ in points], amounts, seconds, prior, logs)
    ops = [op_work(network, node) for node in network.nodes] if isinstance(network, ModelGraph) else network
    return Coverage(
        node_s=np.stack([features([op]) for op in ops]) * costs,
        covariance=covariance,
        usual_variance=usual,
        largest_share=_shares(amounts, logs).max(axis=0),
    )


def _usual_variance(names: Sequence[str], amounts: Floats, seconds: Floats, prior: Prior, logs: Floats) -> float:
    """The mean variance of the fitted networks, each as the others tell it: `interval_factor` was measured so."""
    backbones = np.array([backbone(name) for name in names])
    shares = _shares(amounts, logs)
    variances = []
    for name in dict.fromkeys(backbones.tolist()):
        out = backbones == name
        left = posterior_covariance(amounts[~out], seconds[~out], prior, logs)
        variances += [float(share @ left @ share) for share in shares[out]]
    return float(np.mean(variances))


def _shares(amounts: Floats, logs: Floats) -> Floats:
    """What each cost takes of the seconds of each network, shape (networks, costs)."""
    seconds = amounts * np.exp(logs)
    return np.asarray(seconds / seconds.sum(axis=1, keepdims=True))
