"""What is trained for a plan: where, on what, and before the tables ask for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from splitpoint.codecs.contract.protocol import Codec
from splitpoint.codecs.registry import REGISTRY
from splitpoint.codecs.registry import get as get_codec
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.cost.message import symbol_channel
from splitpoint.planner.cuts.enumeration import enumerate_cuts, find_cut
from splitpoint.planner.cuts.spread import spread_cuts
from splitpoint.planner.networks.variants import Variant
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.store.results import Results
from splitpoint.planner.training.data import as_training_set
from splitpoint.planner.training.trained_files import read_trained
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.cut import Cut

__all__ = ["codec_trainings", "make_trainer", "trained_codecs", "trained_cuts"]


def __dir__() -> list[str]:
    return __all__


MOST_JUDGING = 256  # search inputs: all rates on all of them, eight times, are nearly 7,000 runs of a tail
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
        files=None if config.load is None else read_trained(Path(config.load)),
    )


def trained_cuts(problem: Problem, variant: Variant | None = None) -> list[Cut]:
    """The cuts of a network at which codecs are trained: those that are named, or three; None: of the given network.

    A pruned network is cut where its head was pruned, at those of its cuts that are named, or there alone; one that was
    trained end to end where its codec was.
    """
    config = problem.config.train
    if config is None:
        return []
    if variant is not None and variant.kind == "end-to-end":
        return [cut for cut in enumerate_cuts(variant.graph).cuts if cut.after in (variant.after or ())]
    if variant is not None and variant.kind == "pruned":
        usable = [cut for cut in enumerate_cuts(variant.graph).cuts if cut.after in (variant.after or ())]
        usable = [cut for cut in usable if len(cut.tensors) == 1]
        named = [cut for cut in usable if {cut.name, cut.after, cut.layer} & set(config.cuts)]
        return named if config.cuts else usable[-1:]
    named = [find_cut(problem.graph, text, at=f"$.train.cuts[{i}]") for i, text in enumerate(config.cuts)]
    return named or spread_cuts(problem.graph)


def codec_trainings(
    problem: Problem, trainer: Trainer | None, variant: Variant | None = None
) -> Mapping[str, CodecTraining] | None:
    """The trainings of codecs, by the tensor that crosses; None where nothing is to be trained.

    They are of the given network, of those trained end to end, and of pruned ones where `train.pruned` asks for it.
    """
    config = problem.config.train
    if trainer is None or config is None:
        return None
    graph = problem.graph
    if variant is not None and variant.kind != "given":
        if variant.kind != "end-to-end" and not (variant.kind == "pruned" and config.pruned):
            return None
        graph = variant.graph
    seed, search = problem.config.search.seed, problem.split.search
    every = -(-len(search) // MOST_JUDGING)
    judging = as_training_set(dataclasses.replace(search, samples=search.samples[::every]))
    return {
        cut.tensors[0]: CodecTraining(graph, cut, trainer, seed=seed, judging=judging)
        for cut in trained_cuts(problem, variant)
    }


def trained_codecs(problem: Problem) -> list[Codec]:
    """The codecs of the search that are trained: those that send symbols where the link carries them."""
    names = problem.config.search.codecs or tuple(REGISTRY)
    known = {"channel"} if symbol_channel(problem.link) is None else set()
    return [codec for codec in map(get_codec, names) if "training" in codec.needs and not known & codec.needs]
