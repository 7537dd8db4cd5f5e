"""Fit shipped devices to published latencies: all of library.csv from ncnn's tables, or one profile to its `fitted_on`.

    python -m splitpoint.benchmarks.fit_profiles --data DIR [--write]
    python -m splitpoint.benchmarks.fit_profiles NAME [--known FIELD=SI]

The first learns what devices have in common, leaves every network out once, and says how far each profile is off; with
--write it makes profiles/library/{networks.csv,priors.json}, every YAML file of library.csv and
results/device-latency.json. The second prints the `compute:` numbers of a profile of few points, by a roofline with a
weak prior (`PRIOR`), and the error on its fitted and its held-out points.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitpoint.benchmarks.left_out import Table, few_points, interval_factors, learn, leave_out, table_of
from splitpoint.benchmarks.library_files import (
    compute_from_points,
    file_text,
    points_of,
    read_entries,
    setting_of,
)
from splitpoint.benchmarks.networks import NETWORKS, macs, network
from splitpoint.benchmarks.published import networks_text, read_settings
from splitpoint.benchmarks.scores import latency_result
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.planner.profiling.published import Kind, Prior
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import write_text
from splitpoint.profiles.library import catalog
from splitpoint.profiles.machine.device import Compute, Device, Published, predict_run_s

__all__ = ["errors", "fit", "make_library"]

Floats = NDArray[np.float64]

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
WORST_ERROR = 2.0  # mean factor of left-out networks above which a profile does not ship
KINDS: tuple[Kind, ...] = ("cpu", "gpu")


def fit(device: Device, known: dict[str, float]) -> Device:
    """`device` with its roofline fitted to `fitted_on`; `known` fields stay as given."""
    from scipy.optimize import least_squares

    points = [point for point in device.fitted_on if point.net in NETWORKS]
    work = [network(point.net) for point in points]
    scale = float(np.median([macs(point.net) / point.seconds for point in points]))
    free = [field for field in FIELDS if field not in known]
    centre = np.array([math.log(_prior(field, scale)) for field in free])
    sigma = np.array([PRIOR[field][1] for field in free])

    def with_values(theta: Floats) -> Device:
        values = dict(zip(free, np.exp(theta).tolist(), strict=True)) | known
        return msgspec.structs.replace(device, compute=Compute(**values))

    def residuals(theta: Floats) -> Floats:
        candidate = with_values(theta)
        logs = [math.log(predict_run_s(candidate, ops) / p.seconds) for ops, p in zip(work, points, strict=True)]
        return np.concatenate([np.array(logs) / LATENCY_SIGMA, (theta - centre) / sigma])

    return with_values(np.asarray(least_squares(residuals, centre, method="lm", xtol=1e-10).x))


def errors(device: Device, points: Sequence[Published]) -> list[tuple[Published, float]]:
    """Each point whose network can be counted, with predicted / measured - 1."""
    return [(p, predict_run_s(device, network(p.net)) / p.seconds - 1) for p in points if p.net in NETWORKS]


def make_library(folder: Path, *, write: bool) -> None:
    """Learn, leave out, print, and with `write` make every file again; files come before what depends on them."""
    library = Path(catalog.__file__).parent
    if write:
        write_text(library / "networks.csv", networks_text(folder))
    settings = read_settings(folder)
    tables: dict[str, Table] = {kind: table_of(settings, kind=kind) for kind in KINDS}
    priors = {kind: learn(tables[kind], kind) for kind in KINDS}
    left_out: dict[str, NDArray[np.float64]] = {kind: leave_out(tables[kind], kind, priors[kind]) for kind in KINDS}
    few: dict[str, NDArray[np.float64]] = {kind: few_points(tables[kind], kind, priors[kind]) for kind in KINDS}
    everything = table_of(settings, kind="gpu", all_networks=True)
    all_networks = leave_out(everything, "gpu", learn(everything, "gpu"))
    for kind in KINDS:
        everywhere = interval_factors(left_out[kind], tables[kind].backbones)[2]
        priors[kind] = _kept(msgspec.structs.replace(priors[kind], interval_factor=everywhere))
    files, shipped, refused = [], {}, {}
    for entry in read_entries():
        setting = setting_of(entry, settings)
        kind = "cpu" if entry.unit == "CPU" else "gpu"
        if setting not in tables[kind].settings:  # fewer than 15 networks cannot say how far it is off
            refused[entry.name] = math.inf
            continue
        row = tables[kind].settings.index(setting)
        error = _mean_factor(left_out[kind][row])
        if error > WORST_ERROR:
            refused[entry.name] = error
            continue
        points = points_of(setting, tables[kind].networks)
        text = file_text(
            entry,
            setting,
            compute_from_points(points, entry.precision, priors[kind]),
            points,
            error=error,
            interval=float(interval_factors(left_out[kind], tables[kind].backbones)[0][row]),
        )
        files.append((library / f"{entry.kind}s" / f"{entry.name}.yaml", text))
        shipped[entry.name] = (entry, kind, row)
    result = latency_result(tables, left_out, few, shipped=shipped, refused=refused, all_networks=all_networks)
    print(json.dumps(result["summary"], indent=1))
    if not write:
        return
    text = json.dumps({kind: msgspec.to_builtins(prior) for kind, prior in priors.items()}, indent=1)
    write_text(library / "priors.json", text + "\n")
    for path, text in files:
        write_text(path, text)
    store(RESULTS / "device-latency.json", result, command="fit_profiles --data DIR --write")


def _kept(prior: Prior) -> Prior:
    """To the digits that the file keeps, so that a fit with the file gives the same numbers."""
    return msgspec.structs.replace(
        prior,
        mean=tuple(round(value, 4) for value in prior.mean),
        covariance=tuple(tuple(round(value, 4) for value in row) for row in prior.covariance),
        interval_factor=round(prior.interval_factor, 2),
    )


def _mean_factor(logs: Floats) -> float:
    return math.exp(float(np.nanmean(np.abs(logs))))


def _prior(field: str, scale: float) -> float:
    value = PRIOR[field][0]
    return value if field.endswith("overhead_s") else value * scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="a shipped device or server, or a YAML file")
    parser.add_argument("--known", action="append", default=[], metavar="FIELD=SI", help="a field with a source")
    parser.add_argument("--data", type=Path, help="folder with ncnn.csv and ncnn_networks.csv")
    parser.add_argument("--write", action="store_true", help="write the files, too")
    arguments = parser.parse_args()
    if arguments.data is not None:
        make_library(arguments.data, write=arguments.write)
        return
    if arguments.name is None:
        parser.error("a NAME, or --data DIR")
    try:
        device = catalog.load_device(arguments.name)
    except ProfileError:
        device = catalog.load_server(arguments.name)
    known = {field: float(value) for field, _, value in (entry.partition("=") for entry in arguments.known)}
    fitted = fit(device, known)
    for field in FIELDS:
        print(f"  {field}: {getattr(fitted.compute, field):.3g}")
    for title, points in (("fitted", device.fitted_on), ("held out", device.check_points)):
        for point, error in errors(fitted, points):
            print(f"  {title:9s} {point.net:28s} {point.seconds * 1e3:9.2f} ms  {error:+6.1%}")


if __name__ == "__main__":
    main()
