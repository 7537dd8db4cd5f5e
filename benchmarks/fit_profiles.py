"""Fit a shipped device's compute numbers to the published latencies in its `fitted_on`: python fit_profiles.py NAME.

Least squares on the logarithm of the latency (a published figure is taken as good to 10 %), with a weak prior (`PRIOR`)
where few networks cannot tell seven numbers apart. Prints
the `compute:` numbers to copy into the YAML, and the error on the fitted and on the held-out points.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitpoint.benchmarks.networks import NETWORKS, macs, network
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import load_device, load_server
from splitpoint.profiles.machine.device import Compute, Device, Published, predict_run_s

FIELDS = (
    "dense_macs_s", "pointwise_macs_s", "depthwise_macs_s", "matmul_macs_s", "bytes_s", "node_overhead_s",
    "run_overhead_s",
)  # fmt: skip
LATENCY_SIGMA = 0.10  # of a published latency, relative
# Prior by field: (value, sigma of its logarithm). Rates are relative to the median MAC/s of the points; bytes a MAC
# of 0.25 is the balance at which a 1x1 convolution of 16 channels is bound by neither side; overheads in seconds.
PRIOR = {
    "dense_macs_s": (1.0, 0.7),
    "pointwise_macs_s": (1.0, 0.4),
    "depthwise_macs_s": (0.25, 0.7),
    "matmul_macs_s": (1.0, 0.4),
    "bytes_s": (0.25, 0.7),
    "node_overhead_s": (10e-6, 1.0),
    "run_overhead_s": (50e-6, 1.0),
}


def fit(device: Device, known: dict[str, float]) -> Device:
    """`device` with its compute numbers fitted to `fitted_on`; `known` fields stay as given."""
    points = [point for point in device.fitted_on if point.net in NETWORKS]
    work = [network(point.net) for point in points]
    scale = float(np.median([macs(point.net) / point.seconds for point in points]))
    free = [field for field in FIELDS if field not in known]
    centre = np.array([math.log(_prior(field, scale)) for field in free])
    sigma = np.array([PRIOR[field][1] for field in free])

    def with_values(theta: NDArray[np.float64]) -> Device:
        values = dict(zip(free, np.exp(theta).tolist(), strict=True)) | known
        return msgspec.structs.replace(device, compute=Compute(**values))

    def residuals(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        candidate = with_values(theta)
        errors = [math.log(predict_run_s(candidate, ops) / p.seconds) for ops, p in zip(work, points, strict=True)]
        return np.concatenate([np.array(errors) / LATENCY_SIGMA, (theta - centre) / sigma])

    return with_values(_least_squares(residuals, centre))


def errors(device: Device, points: Sequence[Published]) -> list[tuple[Published, float]]:
    """Each point whose network can be counted, with predicted / measured - 1."""
    return [(p, predict_run_s(device, network(p.net)) / p.seconds - 1) for p in points if p.net in NETWORKS]


def _least_squares(
    residuals: Callable[[NDArray[np.float64]], NDArray[np.float64]], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Levenberg and Marquardt with a numeric Jacobian; residuals are of order one and parameters are logarithms."""
    theta, damping = start, 1e-3
    r = residuals(theta)
    for _ in range(200):
        jacobian = np.stack([(residuals(theta + h) - r) / 1e-6 for h in 1e-6 * np.eye(len(theta))], axis=1)
        normal = jacobian.T @ jacobian
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -jacobian.T @ r)
        moved = residuals(theta + step)
        if moved @ moved < r @ r:
            theta, r, damping = theta + step, moved, damping / 3
            if np.abs(step).max() < 1e-9:
                break
        else:
            damping *= 4
    return theta


def _prior(field: str, scale: float) -> float:
    value = PRIOR[field][0]
    return value if field.endswith("overhead_s") else value * scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a shipped device or server, or a YAML file")
    parser.add_argument("--known", action="append", default=[], metavar="FIELD=SI", help="a field with a source")
    arguments = parser.parse_args()
    try:
        device = load_device(arguments.name)
    except ProfileError:
        device = load_server(arguments.name)
    known = {field: float(value) for field, _, value in (entry.partition("=") for entry in arguments.known)}
    fitted = fit(device, known)
    for field in FIELDS:
        print(f"  {field}: {getattr(fitted.compute, field):.3g}")
    for title, points in (("fitted", device.fitted_on), ("held out", device.check_points)):
        for point, error in errors(fitted, points):
            print(f"  {title:9s} {point.net:28s} {point.seconds * 1e3:9.2f} ms  {error:+6.1%}")


if __name__ == "__main__":
    main()
