"""The profile of a network on this host: read from a file, or measured now."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from splitpoint.planner.cost.timing import with_anchors
from splitpoint.planner.networks.variants import Variant
from splitpoint.planner.profiling.host import measure_host
from splitpoint.planner.profiling.noise import RETEST_WARNING, largest_spread
from splitpoint.planner.store.results import Results
from splitpoint.planner.values.keys import code_sha256, model_profile_key
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import read_yaml
from splitpoint.profiles.machine.machine import check_settings, this_machine
from splitpoint.profiles.measurement.measure import measure_profile
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.measurement.steady import STEADY
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["check_profile", "obtain_profile", "obtain_profiles"]


def __dir__() -> list[str]:
    return __all__


def check_profile(stored: Path, graph: ModelGraph | None = None, *, threads: int = 1) -> None:
    """Raise `ProfileError` unless `stored` holds model profiles, one of them of `graph` with these threads."""
    if not stored.exists():
        raise ProfileError(
            "there is no such profile", at=str(stored), fix=f"splitpoint profile MODEL --out {stored} measures one"
        )
    if stored.is_dir():
        profiles = _read_folder(stored)
        if graph is not None:
            _find(profiles, graph, stored)
    elif graph is not None:
        obtain_profile(graph, stored=stored, threads=threads)
    else:
        read_yaml(stored, ModelProfile)


def obtain_profiles(
    variants: Sequence[Variant],
    *,
    stored: Path | None,
    threads: int,
    results: Results | None = None,
    known: ModelProfile | None = None,
) -> tuple[ModelProfile, list[ModelProfile | None]]:
    """The given network's profile and one for each variant, the given first; `known` is its profile, measured before.

    `stored` is the given network's profile, or a folder of profiles that are told apart by their model's hash. With
    it nothing is measured, so that the plan depends on files alone: a variant without a stored profile gets None.
    Without it steady profiles of this very machine are looked up in `results` and kept there.
    """
    given = variants[0].graph
    if stored is None:
        first = known or _measured(given, lambda: obtain_profile(given, stored=None, threads=threads), threads, results)

        def measure(graph: ModelGraph) -> ModelProfile:
            return with_anchors(graph, measure_profile(graph, host=first.host, threads=threads))

        others = [
            _measured(variant.graph, functools.partial(measure, variant.graph), threads, results)
            for variant in variants[1:]
        ]
        return first, [first, *others]
    if not stored.is_dir():
        first = obtain_profile(given, stored=stored, threads=threads)
        return first, [first, *(None for _ in variants[1:])]
    profiles = _read_folder(stored)
    return _find(profiles, given, stored), [profiles.get(variant.graph.sha256) for variant in variants]


def obtain_profile(graph: ModelGraph, *, stored: Path | None, threads: int) -> ModelProfile:
    """The stored profile of this very model, or one measured now on this host."""
    if stored is None:
        machine = this_machine(threads=threads)
        return with_anchors(graph, measure_profile(graph, host=measure_host(machine), threads=threads))
    profile = read_yaml(stored, ModelProfile)
    if profile.model_sha256 != graph.sha256:
        raise ProfileError(
            f"the profile is of another model: {profile.model} {profile.model_sha256[:12]}…,"
            f" this is {graph.name} {graph.sha256[:12]}…",
            at=f"{stored}: $.model_sha256",
            fix="splitpoint profile MODEL --out FILE",
        )
    check_settings(profile.machine, this_machine(threads=threads), what="the model profile", at=f"{stored}: $.machine")
    return profile


def _measured(
    graph: ModelGraph, measure: Callable[[], ModelProfile], threads: int, results: Results | None
) -> ModelProfile:
    """The profile that an earlier run measured on this machine, or one measured now; a busy machine's is not kept."""
    if results is None:
        return measure()
    key = model_profile_key(model_sha256=graph.sha256, machine=this_machine(threads=threads), code=code_sha256())
    profile: ModelProfile
    profile, _ = results.get(
        "model-profile",
        key,
        measure,
        encode=msgspec.msgpack.encode,
        decode=lambda content: msgspec.msgpack.decode(content, type=ModelProfile),
        keep=lambda profile: largest_spread(profile.host) <= STEADY and profile.retest_error <= RETEST_WARNING,
    )
    return profile


def _read_folder(folder: Path) -> dict[str, ModelProfile]:
    """The profiles of a folder by their model's hash."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    return {profile.model_sha256: profile for profile in (read_yaml(path, ModelProfile) for path in paths)}


def _find(profiles: Mapping[str, ModelProfile], graph: ModelGraph, folder: Path) -> ModelProfile:
    if graph.sha256 not in profiles:
        raise ProfileError(
            f"no profile of {graph.name} ({graph.sha256[:12]}…) among {len(profiles)} profiles",
            at=str(folder),
            fix=f"splitpoint profile MODEL --out {folder}/{graph.name}.yaml",
        )
    return profiles[graph.sha256]
