"""Trainings of one plan: minutes become steps once, checkpoints lie beside the kept results, assets in them.

An asset (weights, an exported network, a codec) is found by what it was trained from and how; a training that was
killed goes on with its steps, whatever the machine's speed is now.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from splitpoint.planner.store.results import Results
from splitpoint.planner.training.batches import Batches
from splitpoint.planner.training.checkpoint import read_step, remove_checkpoint
from splitpoint.planner.training.data import TrainingSet
from splitpoint.planner.training.loop import Loss, Trained, measure_evaluation_s, measure_step_s, train
from splitpoint.planner.training.precision import trained_in
from splitpoint.planner.training.recipe import Recipe
from splitpoint.planner.training.spent import Spent, added
from splitpoint.planner.training.trained_files import TrainedFiles
from splitpoint.planner.values.keys import code_sha256, content_key

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Trainer", "steps_within"]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")
EVALUATIONS: Final = 8  # of a training that is judged meanwhile
LEAST_TRAINED: Final = 0.25  # share of the time that trains: a first step on a busy machine takes seconds
MEASURED_S, MEASURED_SHARE = 3.0, 0.05  # how long steps are timed: seconds, and no more than this share of the training
ASSET: Final = "trained"  # kinds of entries in the store
SPENT: Final = "training-spent"
STEPS: Final = "training-steps"
# What decides trained weights: code, and libraries by their versions. An edit elsewhere leaves them as they are.
CODE: Final = (
    *("splitpoint.planner.training", "splitpoint.planner.coding", "splitpoint.planner.networks"),
    "splitpoint.codecs.learned",
)
LIBRARIES: Final = ("torch", "torch-pruning", "onnx", "onnxscript")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trainer:
    """Data, time and place of the trainings of one plan."""

    data: TrainingSet  # empty: nothing can be trained, only loaded
    data_sha256: str
    minutes: float  # of each training
    folder: Path | None  # of checkpoints; None: there are none
    results: Results | None = None  # where assets are kept
    activations_bytes: int = 4_000_000_000  # of all files of activations together
    files: TrainedFiles | None = None  # codecs that were trained elsewhere
    _spent: dict[str, list[Spent]] = dataclasses.field(default_factory=dict, repr=False)  # in this run, by asset

    def key(self, **parts: object) -> str:
        """Key of an asset that depends on `parts`, beside data, minutes, and the code and libraries that train."""
        return content_key(
            ASSET,
            data=self.data_sha256,
            minutes=self.minutes,
            code=[code_sha256(name) for name in CODE],
            libraries=[(name, importlib.metadata.version(name)) for name in LIBRARIES],
            threads=_threads(),
            trained_in=trained_in(),
            **parts,
        )

    def asset(
        self, key: str, make: Callable[[], T], *, encode: Callable[[T], bytes], decode: Callable[[bytes], T]
    ) -> tuple[T, bool]:
        """What `make` trains, or an earlier plan trained under `key`, and whether it was there.

        Its checkpoints are removed once it is kept.
        """
        results = self.results
        if results is None:
            return make(), False

        def made() -> T:
            self._spent.pop(key, None)
            result = make()
            results.store.put(SPENT, key, msgspec.json.encode(self._spent.get(key, [])))
            return result

        found = results.get(ASSET, key, made, encode=encode, decode=decode)
        if (place := self._place(key)) is not None:
            for path in place.glob("*.pt"):
                remove_checkpoint(path)
            with contextlib.suppress(OSError):
                place.rmdir()
        return found

    def minutes_left(self, key: str, stages: Mapping[str, float]) -> float:
        """Minutes that the asset's trainings still take: 0 where it is kept, else without the steps that are taken.

        `stages` has the share of the minutes of each training of the asset.
        """
        results = self.results
        if results is not None and not results.fresh and results.store.get(ASSET, key) is not None:
            return 0.0
        return self.minutes * sum(share * (1 - self._done(key, stage, share)) for stage, share in stages.items())

    def spent(self, key: str) -> Spent | None:
        """What the trainings of an asset took together, in this run or an earlier one; None where that is not kept."""
        parts = self._spent.get(key)
        if parts is None and self.results is not None:
            content = self.results.store.get(SPENT, key)
            parts = None if content is None else msgspec.json.decode(content, type=list[Spent])
        if not parts:
            return None
        return added(parts)

    def batches(self, recipe: Recipe) -> Batches:
        """The batches of a training: no larger than the data."""
        return Batches(inputs=len(self.data), size=min(recipe.batch, len(self.data)), seed=recipe.seed)

    def train(
        self,
        module: nn.Module,
        loss: Loss,
        recipe: Recipe,
        *,
        key: str,
        stage: str,
        share: float = 1.0,
        evaluate: Callable[[], float] | None = None,
        metric: str = "value",
        report: Callable[[str], None] = lambda text: None,
    ) -> Spent:
        """Train `module` for `share` of the minutes, in place; `recipe.steps` is replaced by what fits into them.

        `evaluate` is asked `EVALUATIONS` times, evenly spaced (`planner.training.loop.train` says what for).
        `key` is the asset's, `stage` names this training among those of the asset, `metric` what `evaluate` gives.
        Raises `ProfileError` (`planner.training.loop.train`).
        """
        begin = time.monotonic()
        steps = self._steps(module, loss, recipe, f"{key} {stage}", share, evaluate)
        recipe = dataclasses.replace(recipe, steps=steps, evaluate_every=-(-steps // EVALUATIONS) if evaluate else 0)
        trained: Trained = train(
            module,
            loss,
            recipe,
            key=content_key("training", key=key, stage=stage, recipe=recipe),
            checkpoint=None if (place := self._place(key)) is None else place / f"{stage}.pt",
            evaluate=evaluate,
            metric=metric,
            report=report,
        )
        spent = Spent(
            steps=trained.steps,
            images=trained.steps * self.batches(recipe).size,
            minutes=(time.monotonic() - begin) / 60,
            losses=dict(trained.losses),
        )
        self._spent.setdefault(key, []).append(spent)
        return spent

    def _steps(
        self,
        module: nn.Module,
        loss: Loss,
        recipe: Recipe,
        key: str,
        share: float,
        evaluate: Callable[[], float] | None,
    ) -> int:
        """The number of steps of this training, measured the first time and kept."""

        def measure() -> int:
            seconds = 60 * share * self.minutes
            begin = time.monotonic()
            step_s = measure_step_s(module, loss, recipe, min(MEASURED_S, MEASURED_SHARE * seconds))
            evaluation_s = 0.0 if evaluate is None else measure_evaluation_s(module, evaluate, recipe)
            spent = time.monotonic() - begin
            left = seconds - spent - EVALUATIONS * evaluation_s
            return steps_within(max(left, LEAST_TRAINED * seconds), step_s=step_s)

        if self.results is None:
            return measure()
        return self.results.get(
            STEPS,
            _steps_key(key, share),
            measure,
            encode=lambda steps: str(steps).encode(),
            decode=lambda data: int(data),
        )[0]

    def _done(self, key: str, stage: str, share: float) -> float:
        """The share of a training's steps that its checkpoint has."""
        place = self._place(key)
        kept = None if self.results is None else self.results.store.get(STEPS, _steps_key(f"{key} {stage}", share))
        if place is None or kept is None or not kept.isdigit():
            return 0.0
        return min(1.0, read_step(place / f"{stage}.pt") / int(kept))

    def _place(self, key: str) -> Path | None:
        """Folder of an asset's checkpoints."""
        return None if self.folder is None else self.folder / key[:32]


def steps_within(seconds: float, *, step_s: float) -> int:
    """Steps of `step_s` seconds that fit into `seconds`, to the nearest; at least 1."""
    return max(1, round(seconds / step_s))


def _steps_key(name: str, share: float) -> str:
    return content_key(STEPS, key=name, share=share)


def _threads() -> int:
    """Threads of torch: they decide the order of sums, and so the bits."""
    import torch

    return torch.get_num_threads()
