"""profiles/library/whole_networks.csv out of the tables of Qualcomm, Rockchip and Hailo.

    python -m splitpoint.benchmarks.whole_networks --data DIR [--write]

The tables have no operators, so that nothing in them says what a cut costs: the figures are kept as they stand.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator
from pathlib import Path

from splitpoint.profiles.files.structs import write_text
from splitpoint.profiles.library import catalog
from splitpoint.profiles.library.whole_networks import BOARDS

__all__ = ["COLUMNS", "OTHERS", "figures_text"]

COLUMNS = ("board", "network", "input", "runtime", "precision", "unit", "seconds", "per_second")

# Read in the sources of these boards (`BOARDS`): board, network, input, runtime, precision, unit, seconds.
OTHERS = (
    ("stm32n6", "mobilenet_v2_0.35", "128x128", "stm32cube-ai", "int8", "NPU", "0.00635"),
    ("stm32n6", "mobilenet_v2", "224x224", "stm32cube-ai", "int8", "NPU", "0.0211"),
    ("esp32-s3", "person_detection", "not-stated", "tflite-micro", "int8", "CPU", "0.054"),
    ("nvidia-a100", "mobilenet_v1", "not-stated", "tensorrt", "int8", "GPU", "0.00016"),
    ("nvidia-a100", "mobilenet_v2", "not-stated", "tensorrt", "int8", "GPU", "0.0003"),
    ("nvidia-a100", "efficientnet_b0", "not-stated", "tensorrt", "int8", "GPU", "0.00067"),
    ("nvidia-a100", "resnet50_v1", "not-stated", "tensorrt", "int8", "GPU", "0.00046"),
)


def figures_text(folder: Path) -> str:
    """The file, boards and rows in the order of the tables; a network that a table does not time is left out."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(folder))
    return out.getvalue()


def _rows(folder: Path) -> Iterator[tuple[str, ...]]:
    printed = {board.printed: name for name, board in BOARDS.items()}
    for row in _table(folder / "qualcomm_ai_hub.csv"):
        where = (row["network"], row["input"], row["runtime"], row["precision"], row["unit"])
        yield printed[row["device"]], *where, _of_ms(row["ms"]), ""
    for row in _table(folder / "rockchip_rknn.csv"):
        size = row["input"].strip("[]").replace(", ", "x")
        yield printed[row["chip"]], row["network"], size, "rknn", row["precision"].lower(), "NPU", "", row["fps"]
    for row in _table(folder / "hailo.csv"):
        if float(row["fps_batch1"] or 0) > 0:
            where = (row["network"], row["input"], "hailort", "int8", "NPU")
            yield printed[row["chip"]], *where, "", row["fps_batch1"]
    for row_of_others in OTHERS:
        yield *row_of_others, ""


def _of_ms(text: str) -> str:
    return f"{float(text) / 1e3:.10g}"


def _table(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def main() -> None:
    """Print how many figures a board has, or write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the three tables")
    parser.add_argument("--write", action="store_true", help="write the file")
    arguments = parser.parse_args()
    text = figures_text(arguments.data)
    if arguments.write:
        write_text(Path(catalog.__file__).with_name("whole_networks.csv"), text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
