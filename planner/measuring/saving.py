"""Trained codecs of a run written as files for another machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from splitpoint.codecs.contract.protocol import Array, Codec, FitError, LossTerm, TrainingCost
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.cost.message import symbol_channel
from splitpoint.planner.measuring.measurer import Measurer
from splitpoint.planner.measuring.trained import trained_codecs, trained_cuts
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.training.trained_files import TrainedCodec, state_of, write_trained
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["save_trained"]


def __dir__() -> list[str]:
    return __all__


class _Watched:
    """A training whose module is copied before and after it."""

    def __init__(self, training: CodecTraining) -> None:
        self.key, self._training = training.key, training
        self.before: dict[str, Array] = {}
        self.after: dict[str, Array] = {}
        self.row: TrainedCodec | None = None

    def __call__(
        self,
        module: nn.Module,
        *,
        rates: int,
        losses: Sequence[LossTerm],
        first: Sequence[LossTerm] = (),
        codec: str = "",
    ) -> TrainingCost:
        self.before = state_of(module)
        asset = self._training.asset_key(module, rates=rates, losses=losses, first=first)
        cost = self._training(module, rates=rates, losses=losses, first=first, codec=codec)
        self.after = state_of(module)
        self.row = self._training.described(asset, cost, codec)
        return cost


def save_trained(problem: Problem, measurers: Iterable[Measurer], folder: Path) -> tuple[TrainedCodec, ...]:
    """Write every codec that was trained or loaded at the cuts of these networks; gives the rows of the manifest.

    Raises `ProfileError` where there is none, or `folder` is not new.
    """
    rows: list[tuple[TrainedCodec, dict[str, Array], dict[str, Array]]] = []
    for measurer in measurers:
        for cut in trained_cuts(problem, measurer.network.variant):
            training = None if measurer.trainings is None else measurer.trainings.get(cut.tensors[0])
            for codec in trained_codecs(problem) if training is not None else ():
                assert training is not None
                watched = _Watched(training)
                try:
                    if measurer.runs.lacks(codec, cut) is None:
                        measurer.runs.fit_trained(cut, codec, [0], watched)
                except FitError:
                    continue  # the run says why
                if watched.row is not None:
                    row = _placed(watched.row, problem, cut, codec, len(rows))
                    rows.append((row, watched.before, watched.after))
    if not rows:
        raise ProfileError("no codec was trained: there is nothing to save", at=str(folder))
    return write_trained(folder, rows)


def _placed(row: TrainedCodec, problem: Problem, cut: Cut, codec: Codec, number: int) -> TrainedCodec:
    """The row with the names that people read, and a file of its own."""
    layer = cut.layer or cut.after
    channel = symbol_channel(problem.link) if "channel" in codec.needs else None
    plain = re.sub(r"[^A-Za-z0-9]+", "-", layer).strip("-")[:60]
    return msgspec.structs.replace(
        row,
        file=f"{number}-{codec.name}-after-{plain}.npz",
        rates=tuple(rate.label for rate in codec.rates),
        layer=layer,
        snr_db=() if channel is None else problem.trained_snr_db or (channel.snr_db, channel.snr_db),
    )
