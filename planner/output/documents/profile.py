"""The document of ``splitpoint profile``: the measured operators, the tensors at the cuts, or both."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from splitpoint.planner.cost.uncounted import uncounted_share
from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.planner.output.documents.tensors import TensorsPart
from splitpoint.planner.profiling.noise import RETEST_WARNING
from splitpoint.planner.profiling.provider_timing import ProviderTiming
from splitpoint.planner.values.plurals import count_text, uncounted_text
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.units import format_flops, format_fraction, format_macs, format_seconds

__all__ = ["ModuleRow", "OperatorTime", "ProfileDocument", "ProviderTime", "profile_document"]


def __dir__() -> list[str]:
    return __all__


SLOWEST = 8  # operators that a profile names


class OperatorTime(Value, frozen=True, kw_only=True):
    """One operator and its share of the seconds of all."""

    name: str
    op_type: str
    macs: int | None  # None: not counted
    weight_bytes: int
    seconds: float
    share: float


class ModuleRow(Value, frozen=True, kw_only=True):
    """MACs of all modules of one type of a torch network, counted twice."""

    module_type: str
    modules: int  # of this type
    macs: int
    fvcore_macs: int
    reason: str  # why the two differ; empty where they are equal

    @property
    def difference_macs(self) -> int:
        """How many more we count than fvcore."""
        return self.macs - self.fvcore_macs


class ProviderTime(Value, frozen=True, kw_only=True):
    """The whole network under another execution provider, timed in turn with the CPU."""

    provider: str
    options: Mapping[str, str]
    cpu_fallback: bool
    seconds: float
    cpu_seconds: float
    on_cpu: tuple[str, ...]  # operators, as ONNX Runtime names them, that the CPU ran beside the provider


class ProfileDocument(Document, frozen=True, kw_only=True, tag="profile"):
    """The answer of ``splitpoint profile``; None is what was not asked for."""

    lines: tuple[str, ...] | None = None
    slowest: tuple[OperatorTime, ...] | None = None
    profile: ModelProfile | None = None
    modules: tuple[ModuleRow, ...] | None = None  # torch networks only
    data: TensorsPart | None = None
    provider: ProviderTime | None = None  # with --provider; the operators above are of the CPU all the same


def profile_document(
    graph: ModelGraph,
    profile: ModelProfile | None,
    *,
    data: TensorsPart | None = None,
    modules: tuple[ModuleRow, ...] | None = None,
    provider: ProviderTiming | None = None,
) -> ProfileDocument:
    """Totals, the slowest operators and what was not counted of a measured `profile`; the tensors at the cuts."""
    document = ProfileDocument(modules=modules, data=data, provider=None if provider is None else _timed(provider))
    if profile is None:
        return document
    seconds = {timing.name: timing.seconds for timing in profile.nodes}
    total = sum(seconds.values())
    slowest = sorted(graph.nodes, key=lambda node: -seconds[node.name])[:SLOWEST]
    rows = tuple(
        OperatorTime(
            name=node.name,
            op_type=node.op_type,
            macs=node.macs,
            weight_bytes=node.weight_bytes,
            seconds=seconds[node.name],
            share=seconds[node.name] / total,
        )
        for node in slowest
    )
    return msgspec.structs.replace(document, lines=_lines(graph, profile), slowest=rows, profile=profile)


def _lines(graph: ModelGraph, profile: ModelProfile) -> tuple[str, ...]:
    whole, threads = profile.whole, profile.machine.threads
    lines = [
        f"{graph.name}: {len(graph.nodes)} operators, {graph.parameters / 1e6:.2f} M parameters,"
        f" {format_flops(graph.macs)} ({format_macs(graph.macs)})",
        f"latency {format_seconds(whole.min_s)} measured on {profile.machine.cpu}, {count_text(threads, 'thread')}"
        f" (median {format_seconds(whole.median_s)}, {whole.n} runs, retest error"
        f" {format_fraction(profile.retest_error)})",
    ]
    lines += graph.fixed
    if profile.retest_error > RETEST_WARNING:
        lines.append(f"warning: noisy host, two halves of the run differ by {format_fraction(profile.retest_error)}")
    if graph.uncounted:
        share = format_fraction(uncounted_share(graph, profile))
        lines.append(f"{uncounted_text(graph.uncounted)}; {share} of the time measured on this host")
    return tuple(lines)


def _timed(timing: ProviderTiming) -> ProviderTime:
    return ProviderTime(
        provider=timing.provider.name,
        options=dict(timing.provider.options),
        cpu_fallback=timing.provider.cpu_fallback,
        seconds=timing.seconds,
        cpu_seconds=timing.cpu_seconds,
        on_cpu=timing.on_cpu,
    )
