"""What plans measure with trained codecs, for the papers that train: a task, and every split as a row."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import splitpoint
from splitpoint.examples.papers import common


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
        for part in ("train", "val"):
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


def planned(
    task: Task, layers: Sequence[str], *, minutes: float, search: Mapping[str, Any], use: Any = "classify", **more: Any
) -> list[dict[str, Any]]:
    """Every split that a plan measures with its codecs trained after those layers, `minutes` each; nothing is written.

    Points lost have the 95 % interval of the plan's search set. `use` is the configuration's task, `more` are other
    fields of a configuration.
    """
    after = {row.layer: row.after for row in splitpoint.cuts(task.model, shapes=task.shape, progress=False).cuts}
    layer_of = {f"after {name}": name for name in after}
    cuts = [after[layer] for layer in layers]
    train = {"source": task.training, "minutes": minutes, "cuts": cuts, "augment": False}
    if "prune" in more:
        more["prune"] = {"cuts": cuts, **more["prune"]}
    found = splitpoint.plan(
        task.model,
        task.data,
        input=task.input,
        task=use,
        train={**train, **more.pop("train", {})},
        search={"sampler": "exhaustive", "race": False, "patience": 0, "max_cuts": 1, **search},
        device="raspberry-pi-4",
        server="cloud-8core",
        need={"max_drop": "99 %"},
        progress=False,
        **more,
    )
    return [
        {
            "layer": layer_of.get(row.cut, row.cut),
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
        for row in found.measured
        if row.placement == "split"
    ]
