"""What is trained for a plan: where, on what, and before the tables ask for it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from splitpoint.codecs.contract.protocol import FitError
from splitpoint.codecs.registry import REGISTRY
from splitpoint.codecs.registry import get as get_codec
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cuts.enumeration import find_cut
from splitpoint.planner.cuts.spread import spread_cuts
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.store.results import Results
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.progress import Progress

__all__ = ["codec_trainings", "make_trainer", "train_codecs", "trained_cuts"]


def __dir__() -> list[str]:
    return __all__


CHECKPOINTS = "checkpoints"  # a folder beside the kept results


def make_trainer(problem: Problem, results: Results | None) -> Trainer | None:
    """What trains for this plan; None where nothing is to be trained."""
    config, data = problem.config.train, problem.training
    if config is None or data is None:
        return None
    folder: Path | None = None if results is None else results.store.folder / CHECKPOINTS
    return Trainer(
        data=data,
        data_sha256=data.sha256(),
        minutes=config.minutes,
        folder=folder,
        results=results,
        activations_bytes=config.activations,
    )


def trained_cuts(problem: Problem) -> list[Cut]:
    """The cuts of the given network at which codecs are trained: those that are named, or three."""
    config = problem.config.train
    if config is None:
        return []
    named = [find_cut(problem.graph, text, at=f"$.train.cuts[{i}]") for i, text in enumerate(config.cuts)]
    return named or spread_cuts(problem.graph)


def codec_trainings(problem: Problem, trainer: Trainer | None) -> Mapping[str, CodecTraining] | None:
    """The trainings of codecs, by the tensor that crosses; None where nothing is to be trained."""
    if trainer is None:
        return None
    seed = problem.config.search.seed
    return {cut.tensors[0]: CodecTraining(problem.graph, cut, trainer, seed=seed) for cut in trained_cuts(problem)}


def train_codecs(
    problem: Problem, runs: NetworkRuns, trainings: Mapping[str, CodecTraining] | None, progress: Progress
) -> None:
    """Train every codec that is trained, so that the tables find them fitted; what cannot be is left to the tables."""
    names: Sequence[str] = problem.config.search.codecs or tuple(REGISTRY)
    codecs = [get_codec(name) for name in names if "training" in get_codec(name).needs]
    cuts = trained_cuts(problem)
    if not codecs or not cuts or trainings is None:
        return
    with progress.stage("training", len(codecs) * len(cuts)) as step:
        runs.prepare(cuts, codecs)
        for cut in cuts:
            trainings[cut.tensors[0]].report = step
            for codec in codecs:
                if runs.lacks(codec, cut) is None:
                    with contextlib.suppress(FitError):  # the table says why
                        runs.fit(cut, codec.name, 0)
                step("")
        step(f"{len(codecs)} codecs at {len(cuts)} cuts")
