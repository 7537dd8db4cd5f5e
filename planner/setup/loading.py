"""The task of one plan, read from its configuration and checked before anything is measured."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import os
from collections.abc import Callable

import msgspec

from splitpoint.planner.cost.message import Channel
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.limits.need import requirements
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.samples.changes import describe_changes
from splitpoint.planner.samples.dataset import Dataset, Split, split_three
from splitpoint.planner.setup.checks import check_config, check_cuts
from splitpoint.planner.setup.choose_metric import check_truths, choose_metric
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.planner.setup.device_limits import bind
from splitpoint.planner.setup.inputs import PictureFlags, load_inputs
from splitpoint.planner.setup.labelled_data import attach_labels, find_pictures
from splitpoint.planner.setup.training_data import load_training_set
from splitpoint.planner.store.results import Results
from splitpoint.planner.training.data import TrainingSet
from splitpoint.planner.values.keys import content_key
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import load_link
from splitpoint.profiles.link.link import Link
from splitpoint.profiles.link.symbols import coding_note
from splitpoint.profiles.machine.machine import MOST_THREADS
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.wire import PROTOBUF_LIMIT

__all__ = ["Problem", "default_threads", "load_problem"]


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
    training: TrainingSet | None = None  # what weights are trained on; empty: loaded alone; None: neither

    @property
    def spec(self) -> InputSpec:
        """The input block in force."""
        return self.split.search.spec

    @property
    def trains_pruned(self) -> bool:
        """Whether pruned networks are trained: there is something to train them on."""
        prune = self.config.prune
        return bool(self.training) and prune is not None and prune.method == "taylor"

    @property
    def trained_snr_db(self) -> tuple[float, float] | None:
        """The range of SNR for which codecs that send channel symbols are trained; None: the link's own."""
        asked = () if self.config.train is None else self.config.train.snr_db
        return (min(asked), max(asked)) if asked else None

    @property
    def channel(self) -> Channel:
        """The link, the share of cases in which the deadline must hold, and the server's load."""
        return Channel(
            link=self.link,
            share=self.needs.deadline_share,
            server_load=self.config.requests_s,
            seed=self.config.search.seed,
        )


def load_problem(config: PlanConfig, *, flags: PictureFlags | None = None, results: Results | None = None) -> Problem:
    """The model, the data and the link, read and checked to fit each other; raises `ProfileError`.

    `flags` say of pictures what the configuration does not. The exported network of a torch module is kept in
    `results`.
    """
    check_config(config)
    source, labels = find_pictures(config)
    loaded = load_inputs(
        config.model,
        source,
        spec=config.input,
        flags=flags,
        shapes=config.shapes,
        constants=config.inputs,
        seed=config.search.seed,
        skip_damaged=config.data.skip_damaged,
        keep=None if results is None else functools.partial(_keep_exported, results),
    )
    graph = loaded.graph
    dataset, found = attach_labels(loaded.dataset, config, labels)
    changes = describe_changes(dataset)
    if flags is not None and flags.given:
        config = msgspec.structs.replace(config, input=dataset.spec)  # what plan/config.yaml says must give this plan
    _check_size(graph, at=config.model)
    check_cuts(config, graph)
    link = load_link(config.link)
    threads = config.threads or default_threads()
    chosen = choose_metric(config, dataset, graph, threads=threads)
    metric = chosen.metric
    split = _three_sets(dataset, config)
    check_truths(metric, split, graph, threads=threads)
    training, left = load_training_set(
        config.train, split, graph, seed=config.search.seed, skip_damaged=config.data.skip_damaged
    )
    return Problem(
        config=config,
        graph=graph,
        split=split,
        metric=metric,
        needs=bind(
            requirements(
                config.need,
                labelled=metric.against == "labels",
                agreement=chosen.agreement,
                floors=metric.floors,
                figures=metric.figures,
            ),
            config,
            graph,
            link,
        ),
        link=link,
        notes=(*loaded.notes, *found, *filter(None, [changes, coding_note(link)]), *chosen.notes, *left),
        threads=threads,
        training=training,
    )


def _keep_exported(results: Results, program: str, convert: Callable[[], bytes]) -> bytes:
    """The network that torch's exporter makes of the traced `program`, as an earlier run made it with this runtime."""
    exporter = importlib.metadata.version("onnxscript")  # the runtime has the other libraries
    key = content_key("exported", program=program, exporter=exporter, runtime=results.runtime)
    return results.get("exported", key, convert, encode=bytes, decode=bytes)[0]


def default_threads() -> int:
    """Number of cores that this process may use, at most `MOST_THREADS`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_THREADS)


def _check_size(graph: ModelGraph, *, at: str) -> None:
    weights = sum(node.weight_bytes for node in graph.nodes)
    if weights > PROTOBUF_LIMIT:
        raise ProfileError(
            f"{weights / 1e9:.1f} GB of weights: a plan directory holds networks up to 2 GB",
            at=at,
            fix="splitpoint cuts and splitpoint profile take larger ones; planner.cuts.halves.write_split cuts them",
        )


def _three_sets(dataset: Dataset, config: PlanConfig) -> Split:
    data = config.data
    assign = {
        group: name
        for name, groups in (("calibration", data.calibration), ("search", data.search), ("report", data.report))
        for group in groups
    }
    return split_three(dataset, seed=config.search.seed, assign=assign or None)  # type: ignore[arg-type]  # literals
