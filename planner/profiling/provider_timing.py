"""A whole network under another execution provider, in turn with the CPU, and which operators the CPU keeps there.

Providers that compile have no operators of ours inside, so that only the whole network and what is left to the CPU are
timed; the two sessions take turns, since other work on the machine then meets both.
"""

from __future__ import annotations

import dataclasses

from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.profiles.files.scratch import scratch_folder
from splitpoint.profiles.measurement.measure import measure_interleaved
from splitpoint.profiles.network.canonical import random_feeds
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import CPU, Provider, open_session

__all__ = ["ProviderTiming", "time_with_provider"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ProviderTiming:
    """Least seconds of a network with a provider and on the CPU, and the operators that the CPU ran beside it."""

    provider: Provider
    seconds: float
    cpu_seconds: float
    on_cpu: tuple[str, ...]


def time_with_provider(graph: ModelGraph, provider: Provider, *, threads: int) -> ProviderTiming:
    """Time `graph`; raises `ProfileError` where `provider` cannot run it and the CPU may not."""
    model = whole_bytes(graph)
    sessions = {
        each.name: open_session(model, threads=threads, name=graph.name, provider=each) for each in (provider, CPU)
    }
    feeds = random_feeds(sessions[CPU.name].inputs)
    seconds = measure_interleaved({name: (session, feeds) for name, session in sessions.items()})
    with scratch_folder() as folder:
        profiled = open_session(
            model, threads=threads, name=graph.name, provider=provider, profile_to=folder / "profile"
        )
        profiled.run(feeds)
        events = profiled.end_profiling()
    kernels = [event for event in events if event.get("cat") == "Node" and "provider" in event.get("args", {})]
    names = [str(event["name"]) for event in kernels if event["args"]["provider"] == CPU.name]
    return ProviderTiming(
        provider=provider,
        seconds=min(seconds[provider.name]),
        cpu_seconds=min(seconds[CPU.name]),
        on_cpu=tuple(dict.fromkeys(name.removesuffix("_kernel_time") for name in names)),
    )
