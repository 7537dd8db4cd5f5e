"""What plans measure with trained codecs, for the papers that train: a task, its codecs, and every split as a row.

The codecs lie in assets/, as ``splitpoint train --save`` writes them; ``--train`` makes them again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import splitpoint
from splitpoint.examples.papers import common

INPUT = "the input"  # in the place of a layer


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A network with labelled pictures to judge it and others to train on, as a configuration names them."""

    name: str
    model: Any
    shape: tuple[int, ...]
    data: str
    training: str
    input: Mapping[str, Any]


@contextlib.contextmanager
def task_of(given: Any) -> Iterator[Task]:
    """The digits of ``--quick``, or CIFAR-100 and the VGG16 of ``--data``, whose pictures are a file meanwhile."""
    if given.quick:
        file = common.HERE.parent / "digits.py"
        block = {"kind": "image", "size": 8, "resize": "exact", "color": "gray", "scale": 255}
        yield Task(
            name="digits",
            model=f"{file}:model",
            shape=(1, 1, 8, 8),
            data=f"{file}:data",
            training=f"{file}:training",
            input=block,
        )
        return
    with tempfile.TemporaryDirectory(prefix="splitpoint-papers-") as folder:
        for part in ("train", "val") if given.train else ("val",):
            pictures, labels = common.cifar100(given.data, part)
            np.savez(Path(folder, f"{part}.npz"), x=pictures, y=labels)
        yield Task(
            name="VGG16, half width",
            model=common.vgg16(given.data),
            shape=(1, 3, 32, 32),
            data=str(Path(folder, "val.npz")),
            training=str(Path(folder, "train.npz")),
            input={"kind": "image", "size": 32, "scale": 255, "mean": list(common.MEAN), "std": list(common.STD)},
        )


def trained(name: str, given: Any, task: Task, layers: Sequence[str], codec: str, **more: Any) -> list[dict[str, Any]]:
    """The rows of the manifest of a paper's trained codecs, which ``--train`` makes first, after those layers."""
    folder = assets(name, given)
    if given.train:
        common.say(f"{codec} after {', '.join(layers)}: {len(layers)} trainings, {given.minutes:g} minutes each")
        shutil.rmtree(folder, ignore_errors=True)
        train = {"source": task.training, "minutes": given.minutes, "augment": False, **more.pop("train", {})}
        _plan(task, layers, train, given, {"codecs": [codec], "evaluations": 0}, save_trained=folder, **more)
    manifest = msgspec.yaml.decode((folder / "trained.yaml").read_bytes())
    return [{**row, "bytes": (folder / row["file"]).stat().st_size} for row in manifest["codecs"]]


def assets(name: str, given: Any) -> Path:
    """The folder of a paper's trained codecs."""
    return common.ASSETS / (f"{name}-quick" if given.quick else name)


def assets_table(found: Mapping[str, Any]) -> str:
    """What was trained, for the page of a paper."""
    return common.table(
        ("trained codec", "after", "minutes", "steps", "inputs seen", "bytes of the file", "SHA-256"),
        [
            (
                f"`{row['codec']}`",
                row["layer"],
                f"{row['spent']['minutes']:.1f}",
                f"{row['spent']['steps']:,}",
                f"{row['spent']['images']:,}",
                f"{row['bytes']:,}",
                f"{row['sha256'][:16]}",
            )
            for row in found["trained"]
        ],
    )


def planned(
    name: str, given: Any, task: Task, layers: Sequence[str], search: Mapping[str, Any], **more: Any
) -> list[dict[str, Any]]:
    """Every split that a plan measures after those layers, with the paper's trained codecs, and every coded input.

    Nothing is written. Points lost have the 95 % interval of the plan's search set. `more` are other fields of a
    configuration.
    """
    train = {"from": str(assets(name, given)), **more.pop("train", {})}
    exhaustive = {"sampler": "exhaustive", "race": False, "patience": 0, "max_cuts": 1}
    found, layer_of = _plan(task, layers, train, given, {**exhaustive, **search}, **more)
    return rows_after(layers, found.measured, layer_of)


def rows_after(layers: Sequence[str], measured: Sequence[Any], layer_of: Mapping[str, str]) -> list[dict[str, Any]]:
    """The splits after those layers and the coded inputs, of all that a plan measured: its own best cut is one more."""
    placed = [(INPUT if row.placement == "server" else layer_of.get(row.cut, row.cut), row) for row in measured]
    return [
        {
            "layer": layer,
            "variant": row.variant,
            "codec": row.codec,
            "rate": row.rate,
            "bytes": common.rounded(row.payload_bytes, 1),
            "uses": row.channel_uses,
            "top1": common.rounded(common.POINTS * row.value, 2),
            "lost": common.rounded(common.POINTS * row.drop, 2),
            "low": common.rounded(common.POINTS * row.drop_low, 2),
            "high": common.rounded(common.POINTS * row.drop_high, 2),
            "head_share": None if row.head_share is None else common.rounded(row.head_share, 4),
            "images": row.n,
        }
        for layer, row in placed
        if (row.placement == "split" and layer in layers) or (row.placement == "server" and row.codec != "-")
    ]


def _plan(
    task: Task,
    layers: Sequence[str],
    train: Mapping[str, Any],
    given: Any,
    search: Mapping[str, Any],
    use: Any = "classify",
    **more: Any,
) -> tuple[splitpoint.PlanResult, dict[str, str]]:
    """A plan whose codecs are trained or loaded after those layers, and the layer of every cut."""
    after = {row.layer: row.after for row in splitpoint.cuts(task.model, shapes=task.shape, progress=False).cuts}
    found = splitpoint.plan(
        task.model,
        task.data,
        input=task.input,
        task=use,
        train={"cuts": [after[layer] for layer in layers], **train},
        search=search,
        device="raspberry-pi-4",
        server="cloud-8core",
        need={"max_drop": "99 %"},
        progress=False,
        threads=given.threads,
        **more,
    )
    return found, {f"after {layer}": layer for layer in after}
