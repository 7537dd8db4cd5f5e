"""How many published networks run wholly on the NPU they were compiled for, by the layers that each unit got.

python benchmarks/npu_layers.py --data DIR reads DIR/qualcomm_ai_hub.csv (qualcomm/ai-hub-models b61a009, perf.yaml) and
prints what docs/profiles.md quotes.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["summary"]


def __dir__() -> list[str]:
    return __all__


def summary(rows: Iterable[Mapping[str, str]]) -> str:
    """Of the rows whose unit is an NPU: how many have layers elsewhere, of which precision, and what share of them."""
    npu = [row for row in rows if row["unit"] == "NPU"]
    mixed = [row for row in npu if int(row["layers_npu"]) < int(row["layers"])]
    quantized = sum(row["precision"] != "float" for row in mixed)
    networks = sorted({row["network"] for row in mixed})
    shares = [1 - int(row["layers_npu"]) / int(row["layers"]) for row in mixed]
    return (
        f"{len(npu) - len(mixed)} of {len(npu)} compiled networks run all layers on the NPU; of the other {len(mixed)}"
        f" ({', '.join(networks)}), {quantized} are quantized, and the NPU lacks {min(shares):.0%} to"
        f" {max(shares):.0%} of their layers (median {statistics.median(shares):.0%})"
    )


def main() -> None:
    """Print the summary of a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with qualcomm_ai_hub.csv")
    with (parser.parse_args().data / "qualcomm_ai_hub.csv").open(encoding="utf-8", newline="") as file:
        print(summary(csv.DictReader(file)))


if __name__ == "__main__":
    main()
