"""What the weights of a plan are trained on, read and checked beside the inputs that judge it."""

from __future__ import annotations

import numpy as np

from splitpoint.planner.samples.dataset import Split, check_labels
from splitpoint.planner.samples.readers import load_data
from splitpoint.planner.setup.config import TrainConfig
from splitpoint.planner.training.data import TrainingSet, training_set
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["load_training_set"]


def __dir__() -> list[str]:
    return __all__


def load_training_set(
    config: TrainConfig | None, split: Split, graph: ModelGraph, *, seed: int = 0, skip_damaged: bool = False
) -> tuple[TrainingSet | None, list[str]]:
    """The training set in the size and scale of the given network's inputs, and notes; None where none is asked for.

    It is empty where codecs are loaded alone.

    Raises `ProfileError` for data that are not the network's, for labels that are none of its outputs, and for classes
    in another order than those of the inputs that judge.
    """
    if config is None:
        return None, []
    spec = split.search.spec
    if spec.kind == "tensors":
        raise ProfileError("weights of networks of several inputs are not trained", at="$.train", fix="remove train:")
    if config.source is None:
        return TrainingSet(content=np.zeros((0, 1)), labels=None, spec=spec), []
    data = load_data(config.source, spec, seed=seed, skip_damaged=skip_damaged)
    ours, theirs = split.search.classes, data.classes
    if ours is not None and theirs is not None and ours != theirs:
        raise ProfileError(
            f"its classes are {_few(theirs)}, those of the inputs that judge are {_few(ours)}",
            at=f"$.train.source: {config.source}",
            fix="give both the same classes, in the same order (classes.txt)",
        )
    if data.labels is not None and len(graph.outputs) == 1:
        check_labels(data, graph.outputs[0].shape[-1])
    return training_set(data, apart=[split.search, split.report], augment=config.augment)


def _few(classes: tuple[str, ...]) -> str:
    return f"{len(classes)} ({', '.join(classes[:3])}{', ...' if len(classes) > 3 else ''})"
