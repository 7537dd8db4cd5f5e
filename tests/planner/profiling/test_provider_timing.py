"""`splitpoint profile --provider`: the whole network under it and on the CPU, and what the CPU keeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from splitpoint.planner.output.documents.profile import ProfileDocument, ProviderTime
from splitpoint.planner.output.terminal.profile import profile_view
from splitpoint.planner.profiling.provider_timing import time_with_provider
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.measurement.probes import PROBES
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.runtime import Provider

AZURE = "AzureExecutionProvider"  # of the plain wheel: it runs no operator by itself
Run = Callable[..., tuple[int, str, str]]


def test_what_the_cpu_runs_beside_a_provider_is_named() -> None:
    graph = load_graph(PROBES["squeeze and expand"](), name="net", source="net")
    timed = time_with_provider(graph, Provider(name=AZURE, cpu_fallback=True), threads=1)
    assert timed.provider.name == AZURE
    assert timed.seconds > 0
    assert timed.cpu_seconds > 0
    assert len(timed.on_cpu) > 10
    assert not any("kernel_time" in name for name in timed.on_cpu)
    assert len(timed.on_cpu) == len(set(timed.on_cpu))
    with pytest.raises(ProfileError, match="cannot run every operator"):
        time_with_provider(graph, Provider(name=AZURE), threads=1)


def test_the_command_names_the_provider(home: Path, run: Run) -> None:
    code, said, err = run("profile", home / "model.onnx", "--provider", "azure", "--cpu-fallback", "--json")
    assert code == 0, err
    found = json.loads(said)["provider"]
    assert (found["provider"], found["cpu_fallback"], found["options"]) == (AZURE, True, {})
    assert found["on_cpu"]
    assert json.loads(run("profile", home / "model.onnx", "--json")[1])["provider"] is None
    code, _, err = run("profile", home / "model.onnx", "--provider", "azure")
    assert code != 0
    assert "--cpu-fallback" in err


def test_the_view_says_how_a_plan_takes_it() -> None:
    from splitpoint.planner.output.terminal.console import consoles

    timed = ProviderTime(
        provider="Other", options={"a": "1"}, cpu_fallback=True, seconds=2e-3, cpu_seconds=4e-3, on_cpu=("x", "y")
    )
    console = consoles()[0]
    with console.capture() as captured:
        console.print(profile_view(ProfileDocument(provider=timed), detail=False))
    said = " ".join(captured.get().split())
    assert "whole network with Other a=1: 2 ms, 2 operators of it on the CPU" in said
    assert "4 ms (x0.50)" in said
    assert "--measured-device 2ms" in said
