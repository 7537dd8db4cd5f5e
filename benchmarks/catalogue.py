"""Every profile that ships, one row each: docs/reference/catalogue.md.

python -m splitpoint.benchmarks.catalogue prints the page's tables; with --write they go into it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from urllib.parse import urlsplit

from splitpoint.benchmarks.document import END, begin, replace
from splitpoint.profiles.library.catalog import Shipped, list_profiles, sources
from splitpoint.profiles.library.whole_networks import BOARDS, READ_ON, list_whole_networks
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.units import format_quantity, format_seconds

__all__ = ["COMMAND", "DOCUMENT", "text"]

DOCUMENT = Path(__file__).parents[1] / "docs" / "reference" / "catalogue.md"
COMMAND = "benchmarks/catalogue.py"


def text() -> str:
    """The generated part of the page."""
    shipped = list_profiles()
    parts = [begin(COMMAND)]
    for kind, title in (("device", "Devices"), ("server", "Servers"), ("link", "Links")):
        own = [one for one in shipped if one.kind == kind]
        own.sort(key=lambda one: (getattr(one.profile, "family", None) or "", one.name))
        parts += ["", f"## {title}: {len(own)}", "", *(_links(own) if kind == "link" else _machines(own))]
    return "\n".join([*parts, "", *_whole(), "", END])


def _whole() -> list[str]:
    """A row a board: how many figures it has and of what, never the figures themselves."""
    rows = [
        "| name | kind | board | what | figures | networks | unit | runtime | source |",
        "|---|---|---|---|---:|---:|---|---|---|",
    ]
    for name, figures in list_whole_networks().items():
        board = BOARDS[name]
        cells = (
            name, board.kind, board.description, "latency" if figures[0].per_second is None else "inferences a second",
            str(len(figures)), str(len({one.network for one in figures})),
            ", ".join(dict.fromkeys(one.unit for one in figures)),
            ", ".join(dict.fromkeys(one.runtime for one in figures)), board.source.removeprefix("https://"),
        )  # fmt: skip
        rows.append("| " + " | ".join(cells) + " |")
    return [
        f"## Whole networks alone: {len(BOARDS)} boards",
        "",
        f"Published figures, read on {READ_ON}; `splitpoint profiles NAME` shows them. Their operators are not known,",
        "so that no cut can be priced and a plan refuses them. One over the throughput of a pipeline is no latency.",
        "",
        *rows,
    ]


def _machines(shipped: list[Shipped]) -> list[str]:
    rows = [
        "| name | family | board | runtime, provider | threads | precision | left out | 90 % within | source |",
        "|---|---|---|---|---:|---|---:|---:|---|",
    ]
    for one in shipped:
        device = one.profile
        assert isinstance(device, Device)
        runtime = device.runtime
        factors = (
            "" if value is None else f"x{value:.2f}" for value in (device.prediction_error, device.interval_factor)
        )
        cells = (
            one.name, device.family or "", device.description, f"{runtime.name}, {runtime.provider}",
            str(runtime.threads), runtime.precision, *factors, _origin(one, "$.fitted_on[0].seconds", "$.compute"),
        )  # fmt: skip
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _links(shipped: list[Shipped]) -> list[str]:
    rows = ["| name | link | uplink | downlink | round trip | source |", "|---|---|---:|---:|---:|---|"]
    for one in shipped:
        link = one.profile
        up, down = (getattr(link, field, None) for field in ("uplink_bit_s", "downlink_bit_s"))
        rates = ("" if rate is None else format_quantity(rate, "bit_s") for rate in (up, down))
        assert not isinstance(link, Device)
        round_trip = format_seconds(link.rtt_s)
        cells = (one.name, link.description, *rates, round_trip, _origin(one, "$.uplink_bit_s", "$."))
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _origin(shipped: Shipped, *paths: str) -> str:
    """The host, or the first words, of the source of the first path that has one."""
    found = sources(shipped.kind, shipped.name)
    for start in paths:
        for path, source in found.items():
            if path.startswith(start) and source.source:
                return urlsplit(source.source).netloc or source.source.split(",")[0].split(" (")[0]
    return ""


def main() -> None:
    """Print the tables or write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/reference/catalogue.md")
    if parser.parse_args().write:
        replace(DOCUMENT, COMMAND, text())
    else:
        print(text())


if __name__ == "__main__":
    main()
