"""A steady profile of this machine is measured once; one that a busy machine gave is measured again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitpoint.planner.profiling import model_profile
from splitpoint.planner.profiling.noise import RETEST_WARNING
from splitpoint.planner.store.results import Results
from splitpoint.planner.store.store import Store
from splitpoint.planner.values.keys import runtime_on
from splitpoint.profiles.machine.machine import this_machine
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.measurement.steady import STEADY
from splitpoint.profiles.network.graph import load_graph


@pytest.mark.parametrize(
    ("spread", "retest_error", "measurements"),
    [(0.5 * STEADY, 0.0, 1), (2 * STEADY, 0.0, 2), (0.0, 2 * RETEST_WARNING, 2)],
    ids=["steady", "busy", "noisy"],
)
def test_a_steady_profile_is_measured_once(
    fixed_home: Path,
    make_profile: Callable[..., ModelProfile],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spread: float,
    retest_error: float,
    measurements: int,
) -> None:
    graph = load_graph((fixed_home / "model.onnx").read_bytes(), name="model")
    made = make_profile(graph)
    host = msgspec.structs.replace(made.host, spread=spread)
    profile = msgspec.structs.replace(made, host=host, retest_error=retest_error)
    calls: list[Any] = []

    def measure(*args: Any, **kwargs: Any) -> ModelProfile:
        calls.append(args)
        return profile

    monkeypatch.setattr(model_profile, "obtain_profile", measure)
    variant: Any = type("Variant", (), {"graph": graph})
    runtime = runtime_on(this_machine(threads=1))
    for _ in range(2):
        results = Results(store=Store(tmp_path), runtime=runtime)
        first, profiles = model_profile.obtain_profiles([variant], stored=None, threads=1, results=results)
        assert first == profile
        assert profiles == [profile]
    assert len(calls) == measurements
    fresh = Results(store=Store(tmp_path), runtime=runtime, fresh=True)
    model_profile.obtain_profiles([variant], stored=None, threads=1, results=fresh)
    assert len(calls) == measurements + 1
