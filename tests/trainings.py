"""Trainings of tests: on noise as pictures, in one thread, with as many steps as the test says on any machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from splitpoint.planner.store.results import results_here
from splitpoint.planner.store.store import Store
from splitpoint.planner.training import trainer as trainer_module
from splitpoint.planner.training.data import TrainingSet
from splitpoint.planner.training.trainer import Trainer
from splitpoint.profiles.network.inputs import InputSpec

__all__ = ["noise", "steps_in_one_thread", "trainer_on", "training_set"]

MINUTES = 0.01


@contextlib.contextmanager
def steps_in_one_thread(monkeypatch: pytest.MonkeyPatch, steps: int) -> Iterator[None]:
    """Sums in one order, and trainers of `trainer_on` that take `steps` steps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(trainer_module, "measure_step_s", lambda *given: 60.0 * MINUTES / steps)
    yield
    torch.set_num_threads(threads)


def noise(count: int, seed: int) -> NDArray[np.float32]:
    """`count` inputs of 3 x 8 x 8, small: the weights of `with_weights` are large."""
    values = np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32)
    return np.float32(0.02) * values


def training_set(content: NDArray[np.float32], *, labels: bool = True) -> TrainingSet:
    """`content` (N, 3, 8, 8) with random labels of five classes."""
    given = np.random.default_rng(0).integers(0, 5, len(content)) if labels else None
    return TrainingSet(content=content, labels=given, spec=msgspec.convert({"kind": "tensor"}, InputSpec))


def trainer_on(data: TrainingSet, folder: Path | None = None) -> Trainer:
    """A trainer on `data`; `folder` keeps what it trains."""
    results = None if folder is None else results_here(Store(folder / "kept"), threads=1)
    place = None if folder is None else folder / "checkpoints"
    return Trainer(data=data, data_sha256=data.sha256(), minutes=MINUTES, folder=place, results=results)
