"""What the five papers' scripts share: options, data, networks, one JSON a paper with its source, tables.

``--data PATH`` is a folder of the user's (docs/papers/index.md says what it holds); ``--quick`` runs on digits that
scikit-learn ships.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import splitpoint

if TYPE_CHECKING:
    from torch import nn

Array = NDArray[Any]
HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results"
MEAN, STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)  # of CIFAR-100's training pictures
TILE = 32  # pixels of a side, on CIFAR-100's contact sheets
WIDTHS = ((32, 32), (64, 64), (128, 128, 128), (256, 256, 256), (256, 256, 256))  # half of Simonyan's VGG16
LITE: Final = f"{HERE.parent / 'photos.py'}:lite0"  # EfficientNet-Lite0 with its ImageNet weights
QUICK = 0.5  # minutes of a training on digits
ASSETS: Final = HERE / "assets"  # trained codecs, by script
POINTS = 100.0
CONFIDENCE = 1.96  # standard errors on either side of a 95 % interval


def options(
    doc: str | None,
    arguments: Sequence[str],
    *,
    minutes: float | None = None,
    trainings: int = 1,
    flags: Mapping[str, str] | None = None,
) -> argparse.Namespace:
    """``--data PATH`` or ``--quick``, ``--out FOLDER``, ``--threads N`` and, where something is trained, ``--train``.

    `minutes` is the default for each of the `trainings`; the digits need half of one. `flags` are
    further options without a value, with their help.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", type=Path, help="folder with the data (docs/papers/index.md)")
    what.add_argument("--quick", action="store_true", help="within two minutes, on scikit-learn's digits")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where JSON and figures go [default: results/ here]")
    parser.add_argument("--threads", type=int, default=2)
    if minutes is not None:
        parser.add_argument(
            "--train",
            action="store_true",
            help=f"train the codecs of assets/ again, about {minutes * trainings:g} minutes; --quick: 1 or less",
        )
        parser.add_argument(
            "--minutes", type=float, help=f"--train: of each training [default: {minutes:g}; --quick: {QUICK:g}]"
        )
    for flag, text in (flags or {}).items():
        parser.add_argument(f"--{flag}", action="store_true", help=text)
    given = parser.parse_args(arguments)
    if minutes is not None and given.minutes is None:
        given.minutes = QUICK if given.quick else minutes
    return given


def save(
    name: str, found: Mapping[str, Any], figures: Mapping[str, str], given: argparse.Namespace, *, seconds: float
) -> None:
    """NAME.json, with the command, the machine and the versions that it was made with, and the figures as SVG."""
    packages = ("splitpoint", "numpy", "onnxruntime", "torch")
    source = {
        "command": command(name, given),
        "date": today(),
        "machine": platform.machine(),
        "threads": given.threads,
        "seconds": round(seconds),
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }
    given.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**source, **found}, indent=1, ensure_ascii=False) + "\n"
    (given.out / f"{name}.json").write_text(text, encoding="utf-8")
    for figure, svg in figures.items():
        (given.out / f"{name}-{figure}.svg").write_text(svg, encoding="utf-8")


def command(name: str, given: argparse.Namespace) -> str:
    """What was typed, with DIR for the folder of the data."""
    asked = ["--quick" if given.quick else "--data DIR"]
    asked += [f"--{flag}" for flag in ("train", "widths") if getattr(given, flag, False)]
    if "--train" in asked and hasattr(given, "minutes"):
        asked.append(f"--minutes {given.minutes:g}")
    return f"python -m splitpoint.examples.papers.{name} {' '.join(asked)}"


def today() -> str:
    """The date, such as "2026-11-29"."""
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


def stored(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """What NAME.json holds."""
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return found


def example(name: str) -> ModuleType:
    """The example beside this folder, such as "digits"."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", HERE.parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def digits(part: str) -> tuple[Array, Array]:
    """Inputs (N, 1, 8, 8) float32 in 0..1 and labels (N,): the 900 of "training", or the other 897."""
    dataset = getattr(example("digits"), part)()
    pictures = np.stack([sample.picture for sample in dataset.samples])
    return to_input(pictures, 0.0, 255.0), np.array([sample.label for sample in dataset.samples])


def cifar100(data: Path, part: str) -> tuple[Array, Array]:
    """Pictures (N, 32, 32, 3) uint8 of "train" or "val" and labels (N,), from contact sheets "class[-number].webp"."""
    sheets = sorted((data / "cifar100" / part).glob("*.webp"))
    names = [path.stem.rsplit("-", 1)[0] if part == "train" else path.stem for path in sheets]
    classes = sorted(set(names))
    pictures, labels = [], []
    for path, name in zip(sheets, names, strict=True):
        with Image.open(path) as image:
            sheet = np.asarray(image.convert("RGB"))
        rows, columns = sheet.shape[0] // TILE, sheet.shape[1] // TILE
        tiles = sheet.reshape(rows, TILE, columns, TILE, 3).transpose(0, 2, 1, 3, 4).reshape(-1, TILE, TILE, 3)
        pictures.append(tiles)
        labels += [classes.index(name)] * len(tiles)
    return np.concatenate(pictures), np.array(labels)


def cifar_input(pictures: Array) -> Array:
    """Pictures as the network takes them."""
    return to_input(pictures, np.multiply(MEAN, 255), np.multiply(STD, 255))


def to_input(pictures: Array, mean: Any, std: Any) -> Array:
    """(N, H, W, C) uint8 as (N, C, H, W) float32, less `mean`, over `std`."""
    return np.ascontiguousarray(((pictures - mean) / std).astype(np.float32).transpose(0, 3, 1, 2))


def vgg16(data: Path) -> nn.Module:
    """The half-width VGG16 for CIFAR-100 in eval mode; a layer is a convolution with its normalization and ReLU."""
    import torch
    from torch import nn

    state = torch.load(data / "models" / "vgg16h_cifar100.pt", map_location="cpu", weights_only=True)
    module = nn.Sequential()
    channels, index = 3, 0
    for block, widths in enumerate(WIDTHS, start=1):
        for conv, width in enumerate(widths, start=1):
            layer = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
            for place in (0, 1):
                prefix = f"features.{index + place}."
                own = {key.removeprefix(prefix): v.float() for key, v in state.items() if key.startswith(prefix)}
                layer[place].load_state_dict(own)
            module.add_module(f"conv{block}_{conv}", layer)
            channels, index = width, index + 3
        module.add_module(f"pool{block}", nn.MaxPool2d(2))
        index += 1
    module.add_module("flatten", nn.Flatten())
    for number, (inside, outside) in enumerate(((256, 512), (512, 512), (512, 100))):
        dense = nn.Linear(inside, outside)
        dense.load_state_dict({key: state[f"classifier.{2 * number}.{key}"].float() for key in ("weight", "bias")})
        module.add_module(f"dense{number + 1}", dense)
        if number < 2:
            module.add_module(f"relu{number + 1}", nn.ReLU())
    return module.eval()


def imagenet500(data: Path, side: int = 224) -> tuple[Array, Array]:
    """Inputs (N, 3, side, side) of EfficientNet-Lite0 and labels (N,), from pictures "class_name.webp" of 256x256.

    A smaller side sees the same part of the picture, resized.
    """
    pictures, labels = [], []
    for path in sorted((data / "imagenet500").glob("*.webp")):
        with Image.open(path) as image:
            pictures.append(np.asarray(lite_crop(image.convert("RGB"), side)))
        labels.append(int(path.stem.split("_")[0]))
    return to_input(np.stack(pictures), 127.0, 128.0), np.array(labels)


def lite_crop(image: Image.Image, side: int) -> Image.Image:
    """The middle 224 of 256 pixels, `side` pixels wide."""
    box = image.crop((16, 16, 240, 240))
    return box if side == box.width else box.resize((side, side), Image.Resampling.BICUBIC)


def lost(before: Array, after: Array) -> dict[str, float]:
    """Points of accuracy lost by right answers (N,) bool, and the half width of the paired 95 % interval.

    Agresti and Min (2005): half an observation is added to each of the four cells, so that no change is no certainty.
    """
    fell, rose, n = int((before & ~after).sum()), int((after & ~before).sum()), len(before) + 2
    deviation = ((fell + rose + 1) / n - ((fell - rose) / n) ** 2) / n
    half = CONFIDENCE * deviation**0.5
    points = POINTS * (fell - rose) / len(before)
    return {"lost": rounded(points, 2), "plus_minus": rounded(POINTS * half, 2)}


def right(outputs: Array, labels: Array) -> Array:
    """Whether each answer (N, classes) is the label's, (N,) bool."""
    return np.asarray(outputs.argmax(axis=1) == labels)


def rounded(value: float, digits_behind: int) -> float:
    """For JSON: no digits that mean nothing."""
    return round(float(value), digits_behind)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; every column but the first is aligned to the right."""
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def say(text: str) -> None:
    """One line of progress."""
    print(text, flush=True)


def layers_of(
    model: Any, shape: tuple[int, ...], chosen: Callable[[str], bool] = lambda layer: True
) -> list[dict[str, Any]]:
    """Where the network can be cut at the end of a layer: multiply-adds before it, their share, float32 bytes."""
    document = splitpoint.cuts(model, shapes=shape, progress=False)
    last = {row.layer: row for row in document.cuts}
    return [
        {
            "layer": row.layer,
            "shape": list(row.shapes[0]),
            "mflops": rounded(row.head_flops / 1e6, 3),
            "head_share": rounded(row.head_share, 4),
            "bytes": row.bytes,
        }
        for row in last.values()
        if chosen(row.layer)
    ]
