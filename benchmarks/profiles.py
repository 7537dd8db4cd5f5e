"""Each shipped profile against published latencies, fitted and held out: the table of docs/profiles.md.

python benchmarks/profiles.py prints it; with --write it goes into the document.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from splitpoint.benchmarks.document import END, begin, replace
from splitpoint.benchmarks.fit_profiles import errors
from splitpoint.profiles.library.catalog import Shipped, list_profiles, sources
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.units import format_seconds

__all__ = ["COMMAND", "DOCUMENT", "details", "summary", "text"]

DOCUMENT = Path(__file__).parents[1] / "docs" / "profiles.md"
COMMAND = "benchmarks/profiles.py"


def summary(devices: list[Device]) -> list[str]:
    """One row a profile: number of points, and the mean and largest error as factors, fitted and held out."""
    rows = [
        "| profile | runtime, threads, precision | fitted on | mean / worst error | held out | mean / worst error |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for device in (device for device in devices if device.compute.kernels is None):
        runtime = f"{device.runtime.name}, {device.runtime.threads}, {device.runtime.precision}"
        cells = [device.name, runtime]
        for points in (device.fitted_on, device.check_points):
            ratios = [1 + error for _, error in errors(device, points)]
            cells += [str(len(ratios)), _spread(ratios)]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def details(shipped: Shipped) -> list[str]:
    """One row a measurement of a profile; the YAML holds the figure as its source prints it."""
    device = shipped.profile
    assert isinstance(device, Device)
    found = sources(shipped.kind, shipped.name)
    rows = ["| network | measured | predicted | error | used | source |", "|---|---:|---:|---:|---|---|"]
    for used, group, points in (
        ("fitted", "fitted_on", device.fitted_on),
        ("held out", "check_points", device.check_points),
    ):
        for i, (point, error) in enumerate(errors(device, points)):
            source = found[f"$.{group}[{i}].seconds"].source or ""
            host = source.removeprefix("https://").split(" ")[0].rstrip(",")
            net = point.net + (f" ({point.note})" if point.note else "")
            seconds, predicted = format_seconds(point.seconds), format_seconds(point.seconds * (1 + error))
            rows.append(f"| {net} | {seconds} | {predicted} | {error:+.0%} | {used} | {host} |")
    return rows


def _spread(ratios: list[float]) -> str:
    """Errors as factors, since half and twice are equally wrong."""
    if not ratios:
        return "-"
    logs = [abs(math.log(ratio)) for ratio in ratios]
    return f"x{math.exp(sum(logs) / len(logs)):.2f} / x{math.exp(max(logs)):.2f}"


def text() -> str:
    """The generated part of the document."""
    shipped = [s for s in list_profiles() if isinstance(s.profile, Device)]
    parts = [begin(COMMAND), "", *summary([s.profile for s in shipped if isinstance(s.profile, Device)])]
    for one in shipped:
        if isinstance(one.profile, Device) and one.profile.fitted_on and one.profile.compute.kernels is None:
            parts += ["", f"### {one.name}", "", one.profile.description + ".", "", *details(one)]
    return "\n".join([*parts, "", END])


def main() -> None:
    """Print the table or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/profiles.md")
    if not parser.parse_args().write:
        print(text())
        return
    replace(DOCUMENT, COMMAND, text())


if __name__ == "__main__":
    main()
