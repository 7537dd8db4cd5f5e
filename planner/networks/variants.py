"""Networks to plan beside the given one: other sizes and precisions, pruned heads, networks trained with a codec.

A variant is a whole network, and both its head and its tail are used. Its quality is always compared with the given
network, so that the loss of the variant itself is included.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from PIL import Image

from splitpoint.planner.cuts.counterparts import counterparts
from splitpoint.planner.cuts.enumeration import find_cut
from splitpoint.planner.networks.precision import lower_precision, same_places
from splitpoint.planner.samples.dataset import SETS, Dataset, Sample, Split
from splitpoint.planner.samples.readers import load_folder
from splitpoint.planner.setup.config import OtherModel
from splitpoint.planner.setup.inputs import check_inputs, data_shapes, load_source
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.values.candidate import GIVEN
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import RESAMPLING, InputSpec
from splitpoint.profiles.network.model import ModelGraph

if TYPE_CHECKING:
    from splitpoint.planner.networks.end_to_end import EndToEndNetwork
    from splitpoint.planner.networks.pruning import Pruned

__all__ = ["Variant", "check_names", "end_to_end_variant", "given_variant", "make_variants", "pruned_variant"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Variant:
    """One network to plan, its inputs, and the kind of variant that it is."""

    name: str  # the label on the front
    kind: Literal["given", "listed", "precision", "pruned", "end-to-end"]
    graph: ModelGraph
    split: Split  # the given network's inputs, in this network's size
    after: frozenset[str] | None = None  # nodes after which it may be cut; None: anywhere
    trained_with: str | None = None  # the codec with which it was trained end to end

    @property
    def spec(self) -> InputSpec:
        """The input block in force."""
        return self.split.search.spec


def given_variant(problem: Problem) -> Variant:
    """The given network as it is."""
    return Variant(name=GIVEN, kind="given", graph=problem.graph, split=problem.split)


def pruned_variant(problem: Problem, pruned: Pruned) -> Variant:
    """A pruned network."""
    after = frozenset(pruned.after)
    return Variant(name=pruned.name, kind="pruned", graph=pruned.graph, split=problem.split, after=after)


def end_to_end_variant(of: Variant, made: EndToEndNetwork, cut: Cut, codec: str) -> Variant:
    """`of` trained with a codec at one of its cuts; it is cut there. Raises `ProfileError`."""
    given = "" if of.kind == "given" else f"{of.name}, "
    name = f"{given}end to end with {codec} after {cut.layer or cut.after}"
    graph = load_graph(made.model, name=f"{of.graph.name} {name}", source=of.graph.source)
    (there,) = counterparts(of.graph, graph, [cut])
    after = frozenset({there.after})
    return Variant(name=name, kind="end-to-end", graph=graph, split=of.split, after=after, trained_with=codec)


def make_variants(problem: Problem) -> tuple[list[Variant], list[str]]:
    """The variants that are not trained, the given network first, and notes on those left out and why.

    Raises `ProfileError` for a listed network that does not fit the data or gives other outputs, and for two variants
    with the same name.
    """
    config = problem.config
    notes: list[str] = []
    heads: list[Cut | None] = [
        find_cut(problem.graph, text, at=f"$.precision_cuts[{i}]") for i, text in enumerate(config.precision_cuts)
    ]
    if heads and all(precision == "fp32" for precision in config.precisions):
        raise ProfileError(
            "there is no precision to lower these heads to", at="$.precision_cuts", fix="precisions: [fp32, int8]"
        )
    variants = [given_variant(problem)]
    variants += [_listed(problem, other, at=f"$.models[{i}]") for i, other in enumerate(config.models)]
    for size in config.sizes:
        try:
            variants.append(_listed(problem, _other_size(problem, size), at="$.sizes"))
        except ProfileError as error:
            notes.append(f"left out: input {size}x{size}: {error.message}")
    for precision in config.precisions:
        if precision != "fp32":
            variants += [_lowered(problem, precision, head) for head in heads or [None]]
    if config.prune is not None and not problem.trains_pruned:
        from splitpoint.planner.networks.pruning import pruned_graphs

        pruned, reasons = pruned_graphs(problem.graph, config.prune, problem.split.calibration)
        notes += reasons
        variants += [pruned_variant(problem, each) for each in pruned]
    check_names([variant.name for variant in variants])
    return variants, notes


def check_names(names: Sequence[str]) -> None:
    """Raise `ProfileError` for two variants of the same name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ProfileError(f"two variants have the name {twice[0]!r}", at="$.models", fix="give each its own name")


def _lowered(problem: Problem, precision: Literal["fp16", "int8"], head: Cut | None) -> Variant:
    graph = lower_precision(problem.graph, precision, problem.split.calibration, head=head)
    return Variant(
        name=precision if head is None else f"{precision} before {head.after}",
        kind="precision",
        graph=graph,
        split=problem.split,
        after=None if head is None else same_places(graph, head),
    )


def _other_size(problem: Problem, size: int) -> OtherModel:
    """The given network with square inputs of `size`; a resize in pixels before the crop keeps its proportion."""
    spec = problem.spec
    if spec.kind != "image":
        raise ProfileError("the input is a tensor, whose size cannot be changed")
    if spec.height_width == (size, size):
        raise ProfileError("it is the given network's own size")
    changes: dict[str, Any] = {"size": size}
    if isinstance(spec.resize, int):
        changes["resize"] = round(spec.resize * size / min(spec.height_width))
    return OtherModel(
        name=f"input {size}x{size}", model=problem.config.model, input=msgspec.structs.replace(spec, **changes)
    )


def _listed(problem: Problem, other: OtherModel, *, at: str) -> Variant:
    spec = other.input or problem.spec
    if problem.metric.task.name == "detect" and spec != problem.spec:
        raise ProfileError(
            "a detector's boxes are in pixels of its input, so variants of another input cannot be compared",
            at=f"{at}.input",
            fix="plan each input size by itself",
        )
    split = problem.split if spec == problem.spec else _resized(problem, spec, at=at)
    graph = load_source(other.model, data_shapes(split.search), constants=problem.config.inputs)
    check_inputs(split.search, graph, at=f"{at}: {other.model}")
    ours, theirs = ([tensor.shape for tensor in g.outputs] for g in (problem.graph, graph))
    if ours != theirs:
        raise ProfileError(
            f"{other.name} gives outputs {theirs}, the given network {ours}",
            at=f"{at}.model",
            fix="list networks of the same task: quality is measured by comparison with the given network's outputs",
        )
    return Variant(name=other.name, kind="listed", graph=graph, split=split)


def _resized(problem: Problem, spec: InputSpec, *, at: str) -> Split:
    """The same samples in the same three sets, in another size: files are read again, stored pictures are resampled."""
    given = problem.spec
    if spec.kind != given.kind or spec.kind != "image" or spec.channels != given.channels:
        raise ProfileError(
            f"a listed network takes {spec.kind} of {spec.channels} channels, the data are {given.kind} of"
            f" {given.channels}",
            at=f"{at}.input",
            fix="only size and scale of an image may differ from the given network's",
        )
    sets = {name: getattr(problem.split, name) for name in SETS}
    folder = Path(problem.config.data.source)
    if folder.is_dir():
        again = load_folder(
            folder, spec, seed=problem.config.search.seed, skip_damaged=problem.config.data.skip_damaged
        )
        resized = {sample.name: sample for sample in again.samples}
        parts = {name: [resized[sample.name] for sample in data.samples] for name, data in sets.items()}
    else:
        parts = {name: list(_resampled(data, spec)) for name, data in sets.items()}
    return Split(
        **{name: dataclasses.replace(data, spec=spec, samples=tuple(parts[name])) for name, data in sets.items()}
    )


def _resampled(data: Dataset, spec: InputSpec) -> Iterator[Sample]:
    height, width = spec.height_width
    for sample in data.samples:
        assert sample.picture is not None  # image data: Dataset's invariant
        planes = sample.picture if sample.picture.shape[2] == 3 else sample.picture[:, :, 0]
        picture = np.asarray(Image.fromarray(planes).resize((width, height), RESAMPLING[spec.resample]))
        yield dataclasses.replace(sample, picture=picture.reshape(height, width, -1))
