"""Seconds of a network on this machine: the whole model, and its share by node from ORT's own profiler.

ORT runs another graph than the one that is cut: it fuses nodes and converts layouts. `attribution` finds for each node
that runs the source node it does the work of; per-node minima are then rescaled to the total without the profiler.
Never profile below ORT_ENABLE_ALL: the blocked layout (NCHWc) alone makes a network up to three times faster.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import onnx

from splitpoint.profiles.files.scratch import scratch_folder
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.machine.machine import this_machine
from splitpoint.profiles.measurement.micro import micro_benchmarks
from splitpoint.profiles.measurement.model_profile import ModelProfile, NodeTiming, Samples
from splitpoint.profiles.measurement.steady import STEADY
from splitpoint.profiles.network.canonical import open_model, random_feeds
from splitpoint.profiles.network.model import ModelGraph, Node
from splitpoint.profiles.network.runtime import Array, Session, open_session

__all__ = [
    "PROFILE_FORMAT",
    "PairTiming",
    "attribution",
    "measure_interleaved",
    "measure_pair",
    "measure_profile",
    "micro_benchmarks",
    "retest_error",
]


def __dir__() -> list[str]:
    return __all__


PROFILE_FORMAT: Final = 1
WARM_UP_RUNS: Final = 3  # allocate, fault pages in, raise the clock
ROUNDS: Final = 20
MOST_TIMES: Final = 3  # that the rounds are made, where they do not agree


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PairTiming:
    """Head, tail and whole timed in turn, round after round, so that a drift of the machine meets all three."""

    head: Samples | None  # None: there is no head
    tail: Samples | None
    whole: Samples
    retest_error: float  # of the whole model, even rounds against odd ones


def measure_profile(graph: ModelGraph, *, host: Device, threads: int, rounds: int = ROUNDS) -> ModelProfile:
    """Time `graph` on this machine, the whole model and by node; `host` is stored with it.

    The retest error compares the minima of even and odd rounds: what a second measurement would differ by. While it is
    above `STEADY` there are more rounds, three times as many at most.
    """
    plain = open_model(graph.model, level="all", threads=threads, name=graph.name)
    feeds = random_feeds(plain.inputs)
    with scratch_folder() as folder:
        optimized = folder / "optimized.onnx"
        profiled = open_model(
            graph.model,
            level="all",
            threads=threads,
            profile_to=folder / "profile",
            optimized_to=optimized,
            name=graph.name,
        )
        sessions = {"plain": (plain, feeds), "profiled": (profiled, feeds)}
        seconds = _measure_until_steady(sessions, "plain", rounds=rounds)["plain"]
        events = _node_minima(profiled.end_profiling())
        running = onnx.load(str(optimized), load_external_data=False)
    whole = samples(seconds)
    shares = dict.fromkeys((node.name for node in graph.nodes), 0.0)
    for runner, source in attribution(graph, running).items():
        shares[source] += events.get(runner, 0.0)
    scale = whole.min_s / sum(shares.values())
    return ModelProfile(
        format=PROFILE_FORMAT,
        model=graph.name,
        model_sha256=graph.sha256,
        machine=this_machine(threads=threads),
        measured=datetime.datetime.now(datetime.UTC).date().isoformat(),
        whole=whole,
        nodes=tuple(NodeTiming(name=name, seconds=share * scale) for name, share in shares.items()),
        host=host,
        retest_error=retest_error(seconds),
    )


def measure_pair(
    head: bytes | Path | None,
    tail: bytes | Path | None,
    whole: bytes | Path,
    *,
    threads: int,
    rounds: int = ROUNDS,
) -> PairTiming:
    """Time an exported head and tail, codec graphs included, against the whole model, interleaved."""
    sessions: dict[str, tuple[Session, Mapping[str, Array]]] = {}
    session = open_session(whole, level="all", threads=threads, name="whole model")
    feeds: Mapping[str, Array] = random_feeds(session.inputs)
    sessions["whole"] = (session, feeds)
    if head is not None:
        session = open_session(head, level="all", threads=threads, name="head")
        sessions["head"] = (session, feeds)
        feeds = session.run(feeds)
    if tail is not None:
        session = open_session(tail, level="all", threads=threads, name="tail")
        sessions["tail"] = (session, feeds)
    seconds = _measure_until_steady(sessions, "whole", rounds=rounds)
    return PairTiming(
        head=samples(seconds["head"]) if head is not None else None,
        tail=samples(seconds["tail"]) if tail is not None else None,
        whole=samples(seconds["whole"]),
        retest_error=retest_error(seconds["whole"]),
    )


def measure_interleaved(
    sessions: Mapping[str, tuple[Session, Mapping[str, Array]]], *, rounds: int = ROUNDS
) -> dict[str, list[float]]:
    """Seconds of every run of every session, one run each a round, in turn."""
    for session, feeds in sessions.values():
        for _ in range(WARM_UP_RUNS):
            session.run(feeds)
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(rounds):
        for name, (session, feeds) in sessions.items():
            start = time.perf_counter()
            session.run(feeds)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def _measure_until_steady(
    sessions: Mapping[str, tuple[Session, Mapping[str, Array]]], decisive: str, *, rounds: int
) -> dict[str, list[float]]:
    """As `measure_interleaved`, and again while even and odd rounds of the decisive session do not agree."""
    seconds = measure_interleaved(sessions, rounds=rounds)
    while retest_error(seconds[decisive]) > STEADY and len(seconds[decisive]) < MOST_TIMES * rounds:
        for name, more in measure_interleaved(sessions, rounds=rounds).items():
            seconds[name] += more
    return seconds


def samples(seconds: list[float]) -> Samples:
    """Minimum, median and median absolute deviation."""
    median = statistics.median(seconds)
    mad = statistics.median(abs(value - median) for value in seconds)
    return Samples(n=len(seconds), min_s=min(seconds), median_s=median, mad_s=mad)


def retest_error(seconds: list[float]) -> float:
    """Relative difference of the minima of even and odd rounds; 0 for fewer than two."""
    if len(seconds) < 2:
        return 0.0
    even, odd = min(seconds[::2]), min(seconds[1::2])
    return abs(even - odd) / min(even, odd)


def attribution(graph: ModelGraph, running: onnx.ModelProto) -> dict[str, str]:
    """For each node of the graph that ORT runs, the name of the source node whose work it does.

    A fused node keeps the name of its last tensor, so the node that computes this tensor is found first, and from there
    the multiply-adds upstream that no other node claims. Nodes that ORT added (layout conversions) go to the source of
    what they read, or where they read the input, of what reads them.
    """
    makers = {name: node for node in graph.nodes for name in node.outputs}
    by_name = {node.name: node for node in graph.nodes}
    sources: dict[str, Node] = {}
    claimed: set[str] = set()
    for runner in running.graph.node:
        source = _named_source(runner, by_name, makers)
        if source is not None:
            sources[runner.name] = source
            claimed.add(source.name)
    for runner in running.graph.node:
        source = sources.get(runner.name)
        if source is not None and not source.macs and runner.op_type.removeprefix("Fused") in _HEAVY:
            heavy = _unclaimed_upstream(source, makers, claimed)
            if heavy is not None:
                sources[runner.name] = heavy
                claimed.add(heavy.name)
    _spread(running, sources)
    return {name: node.name for name, node in sources.items()}


# The operator names of ORT's fused nodes when a convolution or a product is inside.
_HEAVY: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "QLinearConv", "QLinearMatMul", "QGemm"})
# What ORT appends to the name of a node or tensor that it replaces: the blocked layout, a BatchNorm that
# became a convolution, a number that makes new names unique.
_ADDED: Final = re.compile(r"(_bn)?(_nchwc)?(_token_\d+)?$")


def _named_source(runner: onnx.NodeProto, by_name: Mapping[str, Node], makers: Mapping[str, Node]) -> Node | None:
    for name in (runner.name, *runner.output):
        for original in (name, _ADDED.sub("", name, count=1)):
            node = by_name.get(original) or makers.get(original)
            if node is not None:
                return node
    return None


def _unclaimed_upstream(source: Node, makers: Mapping[str, Node], claimed: set[str]) -> Node | None:
    """The nearest node above `source`, through nodes without multiply-adds, that has some and is not claimed."""
    queue = [source]
    while queue:
        node = queue.pop(0)
        above = [makers[name] for name in node.inputs if name in makers]
        heavy = [candidate for candidate in above if candidate.macs and candidate.name not in claimed]
        if heavy:
            return max(heavy, key=lambda candidate: candidate.index)
        queue.extend(candidate for candidate in above if not candidate.macs)
    return None


def _spread(running: onnx.ModelProto, sources: dict[str, Node]) -> None:
    """Give every node without a source the source of a neighbour: above it first, then below."""
    nodes = list(running.graph.node)
    makers = {name: node.name for node in nodes for name in node.output}
    for node in nodes:
        if node.name not in sources:
            above = next((makers[name] for name in node.input if makers.get(name) in sources), None)
            if above is not None:
                sources[node.name] = sources[above]
    readers = {name: node.name for node in nodes for name in node.input}
    for node in reversed(nodes):
        if node.name not in sources:
            below = next((readers[name] for name in node.output if readers.get(name) in sources), None)
            if below is not None:
                sources[node.name] = sources[below]


def _node_minima(events: list[dict[str, Any]]) -> dict[str, float]:
    """Least seconds of each node that ran, warm-up runs included since the minimum leaves them out."""
    suffix = "_kernel_time"
    least: dict[str, float] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(suffix):
            key = name.removesuffix(suffix)
            seconds = float(event["dur"]) * 1e-6  # the profiler's unit is the microsecond
            least[key] = min(least.get(key, seconds), seconds)
    return least
