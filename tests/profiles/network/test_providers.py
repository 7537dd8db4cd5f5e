"""Execution providers: by name, with options, and never the CPU in silence where another was asked for.

The plain wheel of ONNX Runtime lists Azure's provider, which runs no operator by itself: what is refused and what falls
back is tested with it. Every other provider of the installed wheel (OpenVINO's, say) is compared with the CPU.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine import machine
from splitpoint.profiles.network import runtime
from splitpoint.profiles.network.runtime import CPU, Provider, find_provider, open_session

AZURE = "AzureExecutionProvider"
INSTALLED = [name for name in onnxruntime.get_available_providers() if name != AZURE]


def feeds(session: runtime.Session) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        spec.name: rng.standard_normal([size or 1 for size in spec.shape]).astype(np.float32) for spec in session.inputs
    }


@pytest.fixture(scope="module")
def model(home: Path) -> bytes:
    return (home / "model.onnx").read_bytes()


@pytest.mark.parametrize("name", ["cpu", "CPU", "CPUExecutionProvider"])
def test_a_provider_by_its_short_or_its_whole_name(name: str) -> None:
    assert find_provider(name) == CPU


def test_one_that_is_not_installed_is_refused_with_those_that_are() -> None:
    with pytest.raises(ProfileError, match=r"has no execution provider 'cudda'[\s\S]*CPUExecutionProvider[\s\S]*wheel"):
        find_provider("cudda")


@pytest.mark.parametrize("name", INSTALLED)
def test_every_installed_provider_runs_the_network_alone(model: bytes, name: str) -> None:
    cpu, other = open_session(model, threads=1), open_session(model, threads=1, provider=find_provider(name))
    given = feeds(cpu)
    for output, value in cpu.run(given).items():
        np.testing.assert_allclose(other.run(given)[output], value, rtol=1e-3, atol=1e-4)  # other kernels, other sums


def azure(*, cpu_fallback: bool) -> Provider:
    return find_provider("azure", cpu_fallback=cpu_fallback)


def test_operators_that_would_run_on_the_cpu_are_refused(model: bytes) -> None:
    with pytest.raises(ProfileError, match=r"the CPU is not allowed to take over[\s\S]*net[\s\S]*--cpu-fallback"):
        open_session(model, threads=1, provider=azure(cpu_fallback=False), name="net")


def test_the_cpu_takes_over_where_it_may(model: bytes) -> None:
    cpu, other = open_session(model, threads=1), open_session(model, threads=1, provider=azure(cpu_fallback=True))
    given = feeds(cpu)
    for output, value in cpu.run(given).items():
        np.testing.assert_array_equal(other.run(given)[output], value)


def test_a_provider_that_does_not_start_is_refused(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime then gives a session of the CPU alone, whatever was asked for."""
    whole = onnxruntime.InferenceSession

    def without_gpu(*args: Any, providers: Any, **kwargs: Any) -> Any:
        assert providers == [("CUDAExecutionProvider", {"device_id": "0"})]
        args[1].add_session_config_entry("session.disable_cpu_ep_fallback", "0")
        return whole(*args, providers=["CPUExecutionProvider"], **kwargs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", without_gpu)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    cuda = find_provider("cuda", {"device_id": "0"})
    with pytest.raises(ProfileError, match="CUDAExecutionProvider cannot start on this machine"):
        open_session(model, threads=1, provider=cuda)


def test_an_error_of_the_provider_is_not_called_one_of_the_model(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no such device")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(ProfileError, match=r"no such device[\s\S]*check the file"):
        open_session(model, threads=1)
    with pytest.raises(ProfileError, match=r"no such device[\s\S]*check the options of OpenVINOExecutionProvider"):
        open_session(model, threads=1, provider=Provider(name="OpenVINOExecutionProvider"))


def test_threads_of_a_providers_own_are_those_asked_for(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def refuse(*args: Any, providers: Any, **kwargs: Any) -> Any:
        given.append(providers)
        raise RuntimeError("enough")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    for options in ((), (("num_of_threads", "7"),)):
        with pytest.raises(ProfileError, match="enough"):
            open_session(model, threads=3, provider=Provider(name="OpenVINOExecutionProvider", options=options))
    assert given == [[("OpenVINOExecutionProvider", {"num_of_threads": n})] for n in ("3", "7")]


def test_the_version_is_that_of_whatever_wheel_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.onnxruntime_version() == onnxruntime.__version__

    def version(name: str) -> str:
        if name != "onnxruntime-openvino":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.24.1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert machine.onnxruntime_version() == "1.24.1"
