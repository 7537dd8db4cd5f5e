"""The task of one plan, read from its configuration and checked before anything is measured."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from splitpoint.planner.cost.message import Channel
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.limits.need import requirements
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.samples.changes import describe_changes
from splitpoint.planner.samples.dataset import Dataset, Split, split_three
from splitpoint.planner.samples.readers import load_data
from splitpoint.planner.setup.checks import check_config, check_cuts
from splitpoint.planner.setup.choose_metric import choose_metric
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.planner.setup.device_limits import bind
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import load_link
from splitpoint.profiles.link.link import Link
from splitpoint.profiles.network.graph import load_graph, load_model
from splitpoint.profiles.network.inputs import InputSpec, check_against, guess_spec
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.torch_model import export_torch, is_torch_spec
from splitpoint.profiles.network.wire import PROTOBUF_LIMIT

__all__ = ["Problem", "check_inputs", "default_threads", "load_problem", "load_source"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Problem:
    """The task of one plan: model, data, link and requirements, read and checked; nothing is measured yet."""

    config: PlanConfig
    graph: ModelGraph  # of the given network
    split: Split
    metric: Metric
    needs: Requirements
    link: Link
    notes: tuple[str, ...]  # assumptions to print
    threads: int

    @property
    def spec(self) -> InputSpec:
        """The input block in force."""
        return self.split.search.spec

    @property
    def channel(self) -> Channel:
        """The link, the share of cases in which the deadline must hold, and the server's load."""
        return Channel(
            link=self.link,
            share=self.needs.deadline_share,
            server_load=self.config.server_load,
            seed=self.config.search.seed,
        )


def load_problem(config: PlanConfig) -> Problem:
    """The model, the data and the link, read and checked to fit each other; raises `ProfileError`."""
    check_config(config)
    notes: list[str] = []
    spec, graph = config.input, None
    if spec is None and not is_torch_spec(config.model) and Path(config.data.source).exists():
        graph = load_source(config.model, None)
        tensor = graph.inputs[0]
        spec, assumed = guess_spec(tensor.shape, tensor.dtype)
        notes.append(assumed)
    dataset = load_data(config.data.source, spec, seed=config.search.seed, skip_damaged=config.data.skip_damaged)
    notes += [text for text in [describe_changes(dataset)] if text is not None]
    shape = _input_shape(dataset)
    if graph is None or tuple(tensor.shape for tensor in graph.inputs) != (shape,):
        graph = load_source(config.model, shape)
    check_inputs(dataset, graph, at=config.model)
    _check_size(graph, at=config.model)
    check_cuts(config, graph)
    link = load_link(config.link)
    threads = config.threads or default_threads()
    metric, taken = choose_metric(config, dataset, graph, threads=threads)
    notes += taken
    return Problem(
        config=config,
        graph=graph,
        split=_three_sets(dataset, config),
        metric=metric,
        needs=bind(
            requirements(
                config.need, labelled=metric.against == "labels", floors=metric.floors, figures=metric.figures
            ),
            config,
            graph,
            link,
        ),
        link=link,
        notes=tuple(notes),
        threads=threads,
    )


def default_threads() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_source(source: str, input_shape: tuple[int, ...] | None) -> ModelGraph:
    """The canonical graph of an ONNX file, or of the torch module of "file.py:factory" or "package.module:factory"."""
    if not is_torch_spec(source):
        return load_model(Path(source), input_shape=input_shape)
    if input_shape is None:
        raise ProfileError(
            "a torch module has no input shape of its own", at=source, fix="add an input: block with its size"
        )
    return load_graph(export_torch(source, input_shape), name=source.rpartition(":")[2], source=source)


def _check_size(graph: ModelGraph, *, at: str) -> None:
    weights = sum(node.weight_bytes for node in graph.nodes)
    if weights > PROTOBUF_LIMIT:
        raise ProfileError(
            f"{weights / 1e9:.1f} GB of weights: a plan directory holds networks up to 2 GB",
            at=at,
            fix="splitpoint cuts and splitpoint profile take larger ones; planner.cuts.halves.write_split cuts them",
        )


def check_inputs(dataset: Dataset, graph: ModelGraph, *, at: str) -> None:
    """Raise `ProfileError` unless `graph` has one input and takes what `dataset` holds."""
    if len(graph.inputs) != 1:
        names = ", ".join(tensor.name for tensor in graph.inputs)
        raise ProfileError(f"expected a model of one input, got {len(graph.inputs)}: {names}", at=at)
    tensor = graph.inputs[0]
    if dataset.spec.kind == "image":
        check_against(dataset.spec, name=tensor.name, shape=tensor.shape, dtype=tensor.dtype)
        return
    sample = np.asarray(dataset.samples[0].tensor)
    if sample.shape != tensor.shape or str(sample.dtype) != tensor.dtype:
        raise ProfileError(
            f"the model's input {tensor.name!r} is {tensor.dtype}{list(tensor.shape)},"
            f" the data are {sample.dtype}{list(sample.shape)}",
            at=dataset.source or None,
        )


def _input_shape(dataset: Dataset) -> tuple[int, ...]:
    if dataset.spec.kind == "image":
        return dataset.spec.shape
    return tuple(np.asarray(dataset.samples[0].tensor).shape)


def _three_sets(dataset: Dataset, config: PlanConfig) -> Split:
    data = config.data
    assign = {
        group: name
        for name, groups in (("calibration", data.calibration), ("search", data.search), ("report", data.report))
        for group in groups
    }
    return split_three(dataset, seed=config.search.seed, assign=assign or None)  # type: ignore[arg-type]  # literals
