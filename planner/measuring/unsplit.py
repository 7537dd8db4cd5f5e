"""The unsplit network run on the user's inputs before anything is measured: are its outputs finite, and right?"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from splitpoint.planner.coding.context import spread
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.quality.label_order import find_label_order
from splitpoint.planner.quality.metrics.classify import Classify
from splitpoint.planner.quality.sanity import Flags, Indices, is_much_better, measure_fit
from splitpoint.planner.samples.dataset import SETS, Dataset, NetworkInputs, SetName
from splitpoint.planner.setup.finite import refuse_not_finite
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.setup.trust import code_of_task
from splitpoint.planner.store.results import Results
from splitpoint.planner.values.keys import content_key
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec, guess_specs
from splitpoint.profiles.network.runtime import Array
from splitpoint.profiles.units import format_fraction

__all__ = ["check_unsplit", "is_doubt_of_network", "usual_specs"]


def __dir__() -> list[str]:
    return __all__


DOUBT = "the unsplit network is right on"  # begins such a note
GOOD = 0.9  # accuracy above which no other reading of labels or input is looked for
TRIED_INPUTS = 64  # with other normalisations
JUDGED: tuple[SetName, ...] = ("calibration", "search")  # the report set stays unseen


def is_doubt_of_network(note: str) -> bool:
    """Whether a note says that the unsplit network does not fit the labels as they are: no figure means much then."""
    return note.startswith(DOUBT)


def check_unsplit(
    problem: Problem, step: Callable[[], None] = lambda: None, *, results: Results | None = None
) -> tuple[str, ...]:
    """Notes on how well the unsplit network fits the labels; `step` follows each input.

    What was found in order is kept in `results`, and not looked at again. Raises `ProfileError` when an output is not
    finite, and, unless the configuration accepts it, when a classifier is no better than chance on labelled inputs. The
    report set is looked at for finite outputs only.
    """
    if results is None or code_of_task(problem.metric.task):
        return _look(problem, step)
    split, config = problem.split, problem.config
    key = content_key(
        "unsplit",
        model_sha256=problem.graph.sha256,
        input_block=problem.spec,
        data_sha256=[getattr(split, name).sha256() for name in SETS],
        task=problem.metric.task,
        against=problem.metric.against,
        accept_baseline=config.accept_baseline,
        classes=split.search.classes,
        seed=config.search.seed,
        runtime=results.runtime,
    )
    found: tuple[str, ...]
    found, _ = results.get("unsplit", key, lambda: _look(problem, step), encode=msgspec.msgpack.encode, decode=_decode)
    return found


def _decode(content: bytes) -> tuple[str, ...]:
    found: tuple[str, ...] = msgspec.msgpack.decode(content, type=tuple[str, ...])
    return found


def _look(problem: Problem, step: Callable[[], None]) -> tuple[str, ...]:
    sets: dict[SetName, Dataset] = {name: getattr(problem.split, name) for name in SETS}
    inputs: dict[str, NetworkInputs] = {name: NetworkInputs(data) for name, data in sets.items()}
    with NetworkRuns(problem.graph, inputs, threads=problem.threads, seed=problem.config.search.seed) as runs:
        judged = isinstance(problem.metric, Classify) and problem.metric.against == "labels"

        def run(name: SetName, index: int) -> int:
            outputs = runs.whole(inputs[name][index])
            refuse_not_finite(problem.graph, outputs, sets[name], index)
            step()
            return _chosen_class(problem, outputs) if judged else 0

        largest = {name: runs.map(functools.partial(run, name), range(len(sets[name]))) for name in SETS}
        if not judged:
            return ()
        predicted = np.array([index for name in JUDGED for index in largest[name]])
        labels = np.concatenate([sets[name].labels for name in JUDGED])
        assert isinstance(problem.metric, Classify)  # judged
        classes = problem.metric.classes
        fit = measure_fit(predicted, labels, classes)
        if fit.share >= GOOD:
            return ()
        fitted = f"{DOUBT} {fit.right} of {fit.inputs} labelled inputs"
        better = _other_labels(problem, predicted, labels, classes) + _other_inputs(problem, runs)
    if not fit.near_chance:
        return tuple(f"{fitted}, and on {text}" for text in better)
    text = f"{fitted}, no better than chance ({format_fraction(fit.chance)})"
    likely = "the order of classes.txt, mean and std, or the order of the colours (color: bgr)"
    reason = f"on {'; on '.join(better)}" if better else f"likely wrong: {likely}"
    if problem.config.accept_baseline:
        return (f"{text}; {reason}",)
    raise ProfileError(
        f"{text}: {reason}",
        at=problem.config.data.source,
        fix="correct that, or plan all the same: --accept-baseline (accept_baseline: true)",
    )


def _other_labels(problem: Problem, predicted: Indices, labels: Indices, classes: int) -> list[str]:
    found = find_label_order(predicted, labels, classes, problem.split.search.classes)
    return [] if found is None else [f"{found[1]} with the labels {found[0]}: correct classes.txt or the labels"]


def _other_inputs(problem: Problem, runs: NetworkRuns) -> list[str]:
    """The usual normalisation and colour order that makes the network much better on some inputs, if one does."""
    spec = problem.spec
    if spec.kind != "image":
        return []
    data: list[Dataset] = [getattr(problem.split, name) for name in JUDGED]
    together = dataclasses.replace(data[0], samples=tuple(sample for part in data for sample in part.samples))
    tried = together.select(spread(len(together), TRIED_INPUTS))
    labels = np.asarray(tried.labels)

    def right(other: InputSpec) -> Flags:
        inputs = NetworkInputs(dataclasses.replace(tried, spec=other))
        chosen = runs.map(lambda index: _chosen_class(problem, runs.whole(inputs[index])), range(len(inputs)))
        return np.asarray(np.array(chosen) == labels)

    given = right(spec)
    results = [(other, right(other)) for other in usual_specs(spec)]
    better = [(other, hits) for other, hits in results if is_much_better(hits, given)]
    if not better:
        return []
    best, hits = max(better, key=lambda pair: int(pair[1].sum()))
    fields = ("color", "scale", "mean", "std")
    block = ", ".join(f"{name}: {_yaml(getattr(best, name))}" for name in fields)
    return [f"{hits.sum()} of {len(tried)} (rather than {given.sum()}) with the input block {{{block}}}"]


def usual_specs(spec: InputSpec) -> list[InputSpec]:
    """The usual normalisations and both colour orders, those of `spec` left out."""
    colors = ("rgb", "bgr") if spec.channels == 3 else (spec.color,)
    choices = [
        msgspec.structs.replace(spec, scale=usual.scale, mean=usual.mean, std=usual.std, color=color)
        for usual, _ in guess_specs(spec.shape, spec.dtype)
        for color in colors
    ]
    if spec.channels == 3:
        choices.append(msgspec.structs.replace(spec, color="rgb" if spec.color == "bgr" else "bgr"))
    return [choice for choice in dict.fromkeys(choices) if choice != spec]


def _chosen_class(problem: Problem, outputs: Sequence[Array]) -> int:
    """The class that these outputs of the network say; -1 when they cannot be read."""
    metric = problem.metric
    answer = metric.answer({tensor.name: y for tensor, y in zip(problem.graph.outputs, outputs, strict=True)})
    return -1 if answer is None else int(metric.truth(answer))


def _yaml(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)
