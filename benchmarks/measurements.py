"""What benchmarks/results holds of latency and pruning, as the tables of docs/measurements.md.

python -m splitpoint.benchmarks.measurements prints them; with --write they go into the page.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from splitpoint.benchmarks.document import END, begin, replace
from splitpoint.benchmarks.latency import REPEATS, error_table, read_rows, regret_table
from splitpoint.benchmarks.pruning import Row, on_front
from splitpoint.benchmarks.stored import RESULTS

__all__ = ["COMMAND", "DOCUMENT", "text"]

DOCUMENT = Path(__file__).parents[1] / "docs" / "measurements.md"
COMMAND = "benchmarks/measurements.py"


def text() -> str:
    """The generated part of the page."""
    parts = [begin(COMMAND), "", *_accuracy(), "", *_speed(), "", *_devices()]
    for path in sorted(RESULTS.glob("pruned-*.json")):
        parts += ["", *_pruned_heads(json.loads(path.read_text()))]
    return "\n".join([*parts, "", END])


def _accuracy() -> list[str]:
    found = json.loads((RESULTS / "latency-accuracy.json").read_text())
    rows = read_rows(found)
    return [
        f"### Head and tail: {_origin(found)}",
        "",
        *error_table(rows),
        "",
        "Regret: the measured latency of the cut chosen by prediction over that of the best, 15 settings a network.",
        "",
        *regret_table(found["regret"]),
        "",
        f"A row is noisy when its two measurements still differ by more than 3 % after {REPEATS} repetitions: it is",
        "counted, and left out of the means and of the regret.",
    ]


def _speed() -> list[str]:
    found = json.loads((RESULTS / "latency-speed.json").read_text())
    ours = min(found["extraction_s"]["splitpoint"])
    lines = [
        f"### Cutting a ResNet-50 (102 MB): {_origin(found)}",
        "",
        "| head and tail made and written by | least | median | times ours |",
        "|---|---:|---:|---:|",
    ]
    for way, seconds in found["extraction_s"].items():
        times = f"{min(seconds) / ours:.1f}"
        lines.append(f"| {way} | {min(seconds):.3f} s | {statistics.median(seconds):.3f} s | {times} |")
    head_ms, pricing_ms = 1e4 * found["head_s"], 1e3 * found["pricing_s"]
    return [
        *lines,
        "",
        f"All {found['cuts']} cuts found and priced for 15 settings: {pricing_ms:.1f} ms;"
        f" ten runs of the middle head: {head_ms:.0f} ms.",
    ]


def _devices() -> list[str]:
    found = json.loads((RESULTS / "device-latency.json").read_text())
    header = "| points | median factor | within 1.25 | within 1.5 | 90 % within |"
    lines = [
        f"### Networks that a device's fit has not seen: {found['date']}",
        "",
        f"| what {header}",
        "|---|" + 5 * "---:|",
    ]
    for kind, name in (("cpu", "CPU"), ("gpu", "GPU")):
        summary = found["summary"][kind]
        pairs = summary["noise_floor"]["pairs"]
        rows = {
            f"{name}, {summary['settings']} settings": summary["left_out"],
            f"{name}, efficientnetv2_b0 counted too": summary.get("left_out_with_efficientnetv2_b0"),
            f"{name}, four networks given": summary["four_points"],
            f"{name}, noise floor: {pairs} boards that appear twice": summary["noise_floor"],
        }
        lines += [_scored(row, score) for row, score in rows.items() if score is not None]
    lines += [_scored("four networks given, both", found["summary"]["four_points"])]
    lines += [_scored("the profiles that ship", found["summary"]["shipped"])]
    lines += ["", f"| family {header}", "|---|" + 5 * "---:|"]
    lines += [_scored(family, score) for family, score in found["families"].items()]
    for kind, name in (("cpu", "CPU"), ("gpu", "GPU")):
        lines += [
            "",
            f"The worst predictions, {name}:",
            "",
            "| board | unit, threads | network | measured | predicted | reason |",
        ]
        lines += ["|---|---|---|---:|---:|---|"]
        for row in found["worst"][kind]:
            predicted = row["measured_ms"] * row["predicted_over_measured"]
            board = row["board"].split(" (")[0].split(",")[0]
            lines.append(
                f"| {board} | {row['unit']}, {row['threads']} | {row['network']} | {row['measured_ms']:.3g} ms"
                f" | {predicted:.3g} ms | {row['likely_reason']} |"
            )
    return lines


def _scored(name: str, score: Mapping[str, float]) -> str:
    shares = (f"{100 * score[key]:.1f} %" for key in ("within_1.25", "within_1.5"))
    cells = (
        name,
        str(score["points"]),
        f"x{score['median_factor']:.3f}",
        *shares,
        f"x{score['percentile_90_factor']:.2f}",
    )
    return "| " + " | ".join(cells) + " |"


def _pruned_heads(found: dict[str, Any]) -> list[str]:
    rows = msgspec.convert(found["rows"], list[Row])
    header = (
        "method", "ratio", "filters left", "head MACs left", "top-1", "points lost, 95 %", "the other half", "images",
        "head", "tail", "front",
    )  # fmt: skip
    place = f"{found['network']} pruned before {found['before']}"
    lines = [
        f"### {place}, {found['minutes']:g} minutes a training: {_origin(found)}",
        "",
        f"Unpruned: {100 * found['top1']:.1f} % of {found['report_images']:,} pictures, {found['head_macs'] / 1e6:.1f}"
        " million MACs before the cut. The other half: points lost on the pictures on which settings were chosen.",
        "",
        f"| {' | '.join(header)} |",
        "|---|" + "---:|" * (len(header) - 1),
    ]
    return lines + [_pruned_head(row, kept) for row, kept in zip(rows, on_front(rows), strict=True)]


def _pruned_head(row: Row, kept: bool) -> str:
    cells = (
        row.method,
        f"{row.ratio:.3g}{' of the MACs' if row.ratio_of == 'macs' else ''}",
        f"{100 * row.filters_share:.1f} %",
        f"{100 * row.head_macs_share:.1f} %",
        f"{100 * row.top1:.1f} %",
        f"{100 * row.drop:+.1f} [{100 * row.drop_low:+.1f}, {100 * row.drop_high:+.1f}]",
        f"{100 * row.search_drop:+.1f}",
        f"{row.images:,}" if row.images else "",
        *("not measured" if seconds is None else f"{1e3 * seconds:.3f} ms" for seconds in (row.head_s, row.tail_s)),
        "yes" if kept else "",
    )
    return "| " + " | ".join(cells) + " |"


def _origin(found: dict[str, Any]) -> str:
    machine = found["machine"]
    threads = machine["threads"]
    return f"{machine['cpu']}, {threads} thread{'s' if threads > 1 else ''}, {found['date']}"


def main() -> None:
    """Print the tables or write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/measurements.md")
    if parser.parse_args().write:
        replace(DOCUMENT, COMMAND, text())
    else:
        print(text())


if __name__ == "__main__":
    main()
