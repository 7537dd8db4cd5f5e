"""Tables and figures of the codecs: python benchmarks/codecs.py SECTION --data PATH [--out FOLDER].

Sections: `curves` (EfficientNet-Lite0, five-fold), `speed` (each coder against its entropy and a copy), `brito` (the
nine splits of VGG16), `assine` (PCA along EfficientNet-Lite0 against JPEG). Each prints its table and stores its JSON;
`figures` draws stored JSON again. `curves` and `brito` measure what their JSON does not contain yet.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.benchmarks import codec_papers, codec_speed
from splitpoint.benchmarks.codec_folds import measure_codec, measure_picture, report
from splitpoint.benchmarks.codec_networks import Network, efficientnet_lite0, imagenet500
from splitpoint.benchmarks.figure import curves
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.codecs.pictures.picture import PICTURES

__all__ = ["main"]

Array = NDArray[Any]
CUTS = (12, 16)  # stages kept on the device: up to block 10 (14x14x112), up to block 14 (7x7x192)
TENSOR_CODECS = (
    ("kltq-ctx", "kltq-rans"),
    ("step-ctx", "step-rans"),
    ("range-rans", "range-zstd"),
    ("fast", "uniform-channel-huffman"),
    ("uniform-zstd", "brito-sq"),
    ("uniform-clip-rans",),
    ("brito-lloyd",),
    ("brito-tcq",),
    ("brito-vq",),
    ("assine-pca",),
    ("assine-pca-groups",),
    ("choi-tiles", "choi-tiles-webp"),
    ("tiles-webp",),
    ("lossy-tiles-jpeg",),
    ("lossy-tiles-webp",),
    ("lossy-tiles-avif",),
    ("lossy-tiles-hevc",),
)  # codecs of one row share their graphs, so their accuracy is measured once


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("section", choices=("curves", "speed", "brito", "assine", "figures"))
    parser.add_argument("--data", type=Path, help="the data folder with load.py (not for speed and figures)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--codecs", nargs="*", help="curves: only rows with these codecs")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.section == "speed":
        save(options.out / "codecs-speed.json", codec_speed.table(say) + codec_speed.head_rows(say))
        return
    if options.section == "figures":
        draw_curves(stored(options.out / "codecs-curves.json"), options.out)
        draw_assine(stored(options.out / "codecs-assine.json"), options.out)
        return
    if options.data is None:
        parser.error("this section needs --data")
    if options.section == "curves":
        run_curves(options.data, options.out, options.codecs)
    elif options.section == "brito":
        path = options.out / "codecs-brito.json"
        codec_papers.brito(options.data, say, stored(path), lambda rows: save(path, rows))
    else:
        rows = codec_papers.assine(options.data, say)
        save(options.out / "codecs-assine.json", rows)
        draw_assine(rows, options.out)


def run_curves(data: Path, out: Path, only: Sequence[str] | None) -> None:
    """Bytes against top-1 drop of every preset at two cuts, and of pictures; resumes from what is stored."""
    pictures, truth = imagenet500(data)
    network = efficientnet_lite0()
    x = prepare(pictures)
    exact = network.tail(x, 0).argmax(axis=1)
    say(f"{network.name}: top-1 {100 * (exact == truth).mean():.1f} % of {len(truth)}")
    path = out / "codecs-curves.json"
    rows = stored(path)
    done = {(row["codec"], row["cut"]) for row in rows}
    for cut in CUTS:
        inputs = network.forward(x, 0, cut - 1)
        activations = network.forward(inputs, cut - 1, cut)
        say(f"{network.names[cut]}: {activations.shape[1:]}")
        for group in TENSOR_CODECS:
            names = [name for name in group if (name, network.names[cut]) not in done and (not only or name in only)]
            if not names:
                continue
            found = measure_codec(
                network,
                cut,
                names,
                activations,
                rates=useful_rates,
                layer_input=layer_input(network, cut, inputs),
                say=say,
            )
            rows += [report(curve, truth, exact) for curve in found]
            save(path, rows)
    for name, codec in PICTURES.items():
        if codec.weighted:  # fitted to the network, which `codec_savings` does
            continue
        if (name, "picture") in done or codec.refuses() is not None or (only and name not in only):
            continue
        rows.append(report(measure_picture(network, name, pictures, prepare), truth, exact))
        say(f"  {name}")
        save(path, rows)
    print_curves(rows)
    draw_curves(rows, out)


def draw_curves(rows: Sequence[dict[str, Any]], out: Path) -> None:
    """A figure a cut, with every codec of it and every picture, in the order of their bytes."""
    ordered = sorted(rows, key=lambda row: row["chosen"]["bytes"])
    for cut in sorted({row["cut"] for row in rows} - {"picture"}):
        series = {
            row["codec"]: [(p["bytes"], p["drop_points"]) for p in row["curve"]]
            for row in ordered
            if row["cut"] in (cut, "picture")
        }
        title = f"EfficientNet-Lite0, {cut}: top-1 drop against bytes, 500 images, five-fold"
        chart = curves(series, title=title, y_label="top-1 drop, points", y_range=(-1, 14))
        (out / f"codecs-{cut.replace(' ', '-')}.svg").write_text(chart)


def draw_assine(rows: Sequence[dict[str, Any]], out: Path) -> None:
    """Bytes against top-1 along the network."""
    title = "PCA-compressed cuts of EfficientNet-Lite0 against JPEG of the input (Assine et al., figure 2)"
    chart = curves(codec_papers.assine_series(rows), title=title, y_label="top-1, %", y_range=(70, 90))
    (out / "codecs-assine.svg").write_text(chart)


USEFUL = {
    "kltq-ctx": range(1, 9),
    "kltq-rans": range(1, 9),
    "step-ctx": (1, 3, 5, 7, 9),
    "step-rans": (1, 3, 5, 7, 9),
    "uniform-zstd": range(1, 5),
    "brito-sq": range(1, 5),
    "brito-vq": range(2, 7),
    "assine-pca": range(2, 7),
    "assine-pca-groups": range(2, 7),
    "choi-tiles": range(1, 5),
    "choi-tiles-webp": range(1, 5),
    **dict.fromkeys(("lossy-tiles-jpeg", "lossy-tiles-webp", "lossy-tiles-avif"), range(3, 7)),
    "lossy-tiles-hevc": range(1, 7),
}  # the others: the first four, 2 to 5 bits


def useful_rates(name: str) -> Sequence[int]:
    """Rates worth measuring, between hopeless and needless: eight of ours, four or five of the others."""
    return USEFUL.get(name, range(4))


def layer_input(network: Network, cut: int, inputs: Array) -> Array:
    """For channel selection: the input of the block that makes the tensor (at stride 1 or 2)."""
    return inputs


def prepare(pictures: Array) -> Array:
    """Pictures as EfficientNet-Lite0 takes them: (x - 127) / 128, (N, 3, H, W)."""
    return np.ascontiguousarray(((pictures.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2))


def print_curves(rows: Sequence[dict[str, Any]]) -> None:
    """The cross-validated choice of every codec, smallest first."""
    say(f"{'cut':9} {'codec':24} {'bytes':>8} {'drop':>6} {'95 % interval':>15} {'agree':>6}  rates chosen")
    for row in sorted(rows, key=lambda r: (r["cut"], r["chosen"]["bytes"])):
        c = row["chosen"]
        interval = f"[{c['drop_low']:+.1f}, {c['drop_high']:+.1f}]"
        picks = ", ".join(dict.fromkeys(c["rates"]))
        say(
            f"{row['cut']:9} {row['codec']:24} {c['bytes']:8,.0f} {c['drop_points']:+6.1f} {interval:>15} "
            f"{100 * c['agreement']:5.1f} %  {picks}"
        )


def save(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows; the day, the machine and the versions are those of the last of them."""
    store(path, {"rows": rows}, command=f"codecs {path.stem.removeprefix('codecs-')} --data DIR")


def stored(path: Path) -> list[dict[str, Any]]:
    """The rows of a result; none where there is no file."""
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    return rows


def say(text: str) -> None:
    """A line to the terminal, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
