"""A plan whose halves another execution provider runs, and the CPU in its place only where that is allowed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from splitpoint.planner.deploy.plan import Plan
from splitpoint.profiles.errors import ProfileError

Run = Callable[..., tuple[int, str, str]]
INSTALLED = [name for name in onnxruntime.get_available_providers() if name != "AzureExecutionProvider"]


def picture(plan: Plan) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    (given,) = plan.file.model.inputs
    return np.random.default_rng(0).standard_normal(given.shape).astype(np.float32)


def answer(plan: Plan, payload: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The only output."""
    y = plan.tail(payload)
    assert isinstance(y, np.ndarray)
    return y


def test_the_provider_runs_both_halves(split_plan: Path) -> None:
    cpu, named = Plan.load(split_plan, threads=1), Plan.load(split_plan, threads=1, provider="cpu")
    helped = Plan.load(split_plan, threads=1, provider="azure", cpu_fallback=True)
    assert (cpu.provider, helped.provider.name) == (named.provider, "AzureExecutionProvider")
    x = picture(cpu)
    payload = cpu.head(x)
    assert named.head(x) == helped.head(x) == payload
    np.testing.assert_array_equal(answer(helped, payload), answer(cpu, payload))


@pytest.mark.parametrize("provider", INSTALLED)
def test_every_installed_provider_runs_a_plan_alone(split_plan: Path, provider: str) -> None:
    cpu, other = Plan.load(split_plan, threads=1), Plan.load(split_plan, threads=1, provider=provider)
    payload = other.head(picture(cpu))
    np.testing.assert_allclose(answer(other, payload), answer(cpu, payload), rtol=1e-3, atol=1e-4)  # other sums


def test_the_cpu_does_not_take_over_in_silence(split_plan: Path) -> None:
    alone = Plan.load(split_plan, threads=1, provider="azure")
    with pytest.raises(ProfileError, match=r"cannot run every operator") as caught:
        alone.head(picture(alone))
    assert str(caught.value.at).endswith("head.onnx")
    assert "cpu_fallback=True" in str(caught.value.fix)
    payload = Plan.load(split_plan, threads=1).head(picture(alone))
    with pytest.raises(ProfileError, match=r"cannot run every operator") as caught:
        alone.tail(payload)
    assert str(caught.value.at).endswith("tail.onnx")


def test_what_cannot_be_a_provider_is_refused_at_once(split_plan: Path) -> None:
    with pytest.raises(ProfileError, match="has no execution provider 'nothing'"):
        Plan.load(split_plan, provider="nothing")
    with pytest.raises(ProfileError, match="none is given"):
        Plan.load(split_plan, cpu_fallback=True)


def test_verify_runs_the_provider_and_names_it(split_plan: Path, run: Run) -> None:
    code, said, _ = run("verify", split_plan, "--provider", "azure", "--cpu-fallback", "--json")
    checks = {check["name"]: check for check in json.loads(said)["checks"]}
    assert code == 0
    assert checks["provider"]["text"] == "AzureExecutionProvider runs head and tail, the CPU what it cannot"
    code, said, _ = run("verify", split_plan, "--provider", "azure", "--json")
    checks = {check["name"]: check for check in json.loads(said)["checks"]}
    assert code == 1
    assert (checks["provider"]["status"], checks["exactness"]["status"]) == ("passed", "passed")
    assert any("the CPU is not allowed to take over" in check["text"] for check in checks.values())
    code, _, err = run("verify", split_plan, "--provider", "nothing")
    assert (code, "has no execution provider" in err) == (3, True)
