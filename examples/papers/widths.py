"""Networks of separable convolutions at several widths: of CIFAR-100, trained ahead, and of digits, trained in seconds.

Those of CIFAR-100 lie in assets/assine as fp16 `.npz`, with `trained.yaml`; ``assine --train`` makes them again.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from splitpoint.examples.papers import common
from splitpoint.examples.papers.common import Array

if TYPE_CHECKING:
    from torch import nn

WIDTHS = (0.25, 0.5, 1.0)
FOLDER = common.ASSETS / "assine"
MINUTES = 30  # of the three trainings on CIFAR-100, about, on one core beside other work
SEED = 0

# channels and stride of the first convolution and of every block after it, at width 1
DIGITS = ((16, 1), (32, 2), (32, 1), (64, 2))
CIFAR = ((32, 1), (64, 2), (128, 2), (128, 1), (256, 2), (256, 1))

EPOCHS, BATCH, RATE, DECAY = 20, 128, 0.2, 2e-4  # of SGD, momentum 0.9, the rate in one cycle
PAD = 4  # pixels on every side, before a random crop


def layers(shape: Sequence[tuple[int, int]]) -> dict[str, str]:
    """What the page calls the layers of a network, and their names."""
    return {"stem": "stem", **{f"block {i}": f"block{i}" for i in range(1, len(shape))}, "pooled": "pool"}


def network(shape: Sequence[tuple[int, int]], width: float, *, colors: int, classes: int) -> nn.Module:
    """MobileNet's depthwise and pointwise convolutions, `width` times the channels of `shape`, untrained."""
    from torch import nn

    def block(inside: int, outside: int, stride: int) -> nn.Module:
        return nn.Sequential(
            *(nn.Conv2d(inside, inside, 3, stride, 1, groups=inside, bias=False), nn.BatchNorm2d(inside), nn.ReLU()),
            *(nn.Conv2d(inside, outside, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()),
        )

    (first, stride), *others = ((round(channels * width), stride) for channels, stride in shape)
    module, last = nn.Sequential(), first
    stem = nn.Conv2d(colors, first, 3, stride, 1)
    module.add_module("stem", nn.Sequential(stem, nn.BatchNorm2d(first), nn.ReLU()))
    for number, (channels, stride) in enumerate(others, start=1):
        module.add_module(f"block{number}", block(last, channels, stride))
        last = channels
    module.add_module("pool", nn.AdaptiveAvgPool2d(1))
    module.add_module("flatten", nn.Flatten())
    module.add_module("dense", nn.Linear(last, classes))
    return module


def of_digits(width: float, x: Array, labels: Array) -> nn.Module:
    """Trained now, in eval mode; the same each time."""
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module = network(DIGITS, width, colors=1, classes=10)
        optimizer = torch.optim.Adam(module.parameters(), lr=4e-3)
        inputs, truth = torch.from_numpy(x), torch.from_numpy(labels)
        for _ in range(25):
            order = torch.randperm(len(inputs))
            for start in range(0, len(inputs), 50):
                rows = order[start : start + 50]
                optimizer.zero_grad()
                torch.autograd.backward(nn.functional.cross_entropy(module(inputs[rows]), truth[rows]))
                optimizer.step()
    return module.eval()


def of_cifar100(file: str, folder: Path = FOLDER) -> nn.Module:
    """The network of a row of `trained.yaml`, in eval mode, its weights those of the file: fp16 as float32.

    Raises `ValueError` for a file whose SHA-256 is another than in `trained.yaml`.
    """
    import torch

    row = next(row for row in manifest(folder) if row["file"] == file)
    content = (folder / file).read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != row["sha256"]:
        raise ValueError(
            f"{folder / file}: SHA-256 is {found}, expected {row['sha256']} as in trained.yaml; take the file from the "
            f"repository again, or train: python -m splitpoint.examples.papers.assine --data DIR --train"
        )
    module = network(CIFAR, row["width"], colors=3, classes=100)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        state = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files}
    counts = {name: v for name, v in module.state_dict().items() if name.endswith("num_batches_tracked")}
    module.load_state_dict(state | counts)  # the counts are for trainings alone
    return module.eval()


def manifest(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """The rows of `trained.yaml`, narrowest first."""
    rows: list[dict[str, Any]] = msgspec.yaml.decode((folder / "trained.yaml").read_bytes())["networks"]
    return rows


def train(data: Path, how: str, folder: Path = FOLDER) -> None:
    """Train the networks of CIFAR-100 again, narrowest first; each file and its row are written when it is done.

    After each epoch `unfinished.pt` is written: a training that was stopped goes on there, with the same result.
    """
    common.say(f"{len(WIDTHS)} trainings of {EPOCHS} epochs, about {MINUTES} minutes in all on one core")
    (pictures, labels), (seen, truth) = common.cifar100(data, "train"), common.cifar100(data, "val")
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "unfinished.pt"
    begun = _read(checkpoint).get("width", 0)
    rows = [row for row in manifest(folder) if row["width"] < begun] if begun else []
    for width in WIDTHS[len(rows) :]:
        file = f"{len(rows)}-width-{width:g}.npz"
        state, steps, minutes = _trained(width, pictures, labels, checkpoint)
        np.savez_compressed(folder / file, **state)
        row = {
            "file": file,
            "sha256": hashlib.sha256((folder / file).read_bytes()).hexdigest(),
            "width": width,
            "spent": {"steps": steps, "epochs": EPOCHS, "images": steps * BATCH, "minutes": minutes},
            "seed": SEED,
            "trained_on": f"cifar100/train, {len(pictures)} pictures",
            "how": how,
        }
        _write(folder, [*rows, row])
        top1 = common.rounded(common.POINTS * right(of_cifar100(file, folder), seen, truth), 2)
        rows.append({**row, "top1": top1, "judged_on": f"cifar100/val, {len(seen)} pictures, fp16 weights"})
        _write(folder, rows)
        common.say(f"width {width:g}: top-1 {top1} % after {minutes} minutes")
    checkpoint.unlink()


def right(module: nn.Module, pictures: Array, labels: Array) -> float:
    """The share of right answers of a network of CIFAR-100, 0..1."""
    import torch

    with torch.inference_mode():
        parts = [module(torch.from_numpy(common.cifar_input(part))).numpy() for part in _parts(pictures)]
    return float(common.right(np.concatenate(parts), labels).mean())


def augmented(pictures: Array, rng: np.random.Generator) -> Array:
    """Every picture (N, 32, 32, 3) uint8 moved by up to `PAD` pixels, black beside it, and half of them mirrored."""
    count, side = pictures.shape[:2]
    padded = np.pad(pictures, ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    down, across = rng.integers(0, 2 * PAD + 1, (2, count))
    moved = windows[np.arange(count), down, across].transpose(0, 2, 3, 1)
    mirrored = rng.random((count, 1, 1, 1)) < 0.5
    return np.asarray(np.where(mirrored, moved[:, :, ::-1], moved))


def _trained(width: float, pictures: Array, labels: Array, checkpoint: Path) -> tuple[dict[str, Any], int, float]:
    """The weights as fp16 by name, the steps that were taken, and the minutes."""
    import torch
    from torch import nn

    rng = np.random.default_rng(SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module = network(CIFAR, width, colors=3, classes=100)
    for weight in module.parameters():
        if weight.ndim == 4:  # faster, here, for depthwise convolutions
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    steps = EPOCHS * (len(pictures) // BATCH)
    optimizer = torch.optim.SGD(module.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    parts: dict[str, Any] = {"module": module, "optimizer": optimizer, "schedule": schedule}
    found = _read(checkpoint)
    if found.get("width") == width:
        for name, part in parts.items():
            part.load_state_dict(found[name])
        rng.bit_generator.state = found["rng"]
    else:
        found = {"epochs": 0, "seconds": 0.0}
    begin = time.monotonic() - found["seconds"]
    for epoch in range(found["epochs"], EPOCHS):
        losses = []
        order = rng.permutation(len(pictures))[: len(pictures) // BATCH * BATCH]
        for rows in order.reshape(-1, BATCH):
            x = torch.from_numpy(common.cifar_input(augmented(pictures[rows], rng)))
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(
                module(x.contiguous(memory_format=torch.channels_last)), torch.from_numpy(labels[rows])
            )
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        common.say(f"width {width:g}, epoch {epoch + 1} of {EPOCHS}: loss {np.mean(losses):.3f}")
        done = {"width": width, "epochs": epoch + 1, "seconds": time.monotonic() - begin}
        states = {name: part.state_dict() for name, part in parts.items()}
        torch.save({**done, **states, "rng": rng.bit_generator.state}, checkpoint)
    minutes = common.rounded((time.monotonic() - begin) / 60, 2)
    state = {name: v.numpy() for name, v in module.state_dict().items() if not name.endswith("num_batches_tracked")}
    return {name: np.ascontiguousarray(v, dtype=np.float16) for name, v in state.items()}, steps, minutes


def _read(checkpoint: Path) -> dict[str, Any]:
    """What the training that was stopped had reached; empty where none was."""
    import torch

    found: dict[str, Any] = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else {}
    return found


def _parts(pictures: Array) -> Iterator[Array]:
    for start in range(0, len(pictures), BATCH):
        yield pictures[start : start + BATCH]


def _write(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    (folder / "trained.yaml").write_bytes(msgspec.yaml.encode({"format": 1, "networks": rows}))
