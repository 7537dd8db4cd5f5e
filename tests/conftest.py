"""Fixtures that several test files share: the networks of tests/nets.py and their exported graphs."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray

from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.machine.device import Compute, Device, Runtime
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph

# Times depend on what else the machine does; a slow example is no failure.
hypothesis.settings.register_profile("splitpoint", deadline=None)
hypothesis.settings.load_profile("splitpoint")


def pytest_configure(config: pytest.Config) -> None:
    """Leave slow tests out unless -m asks for them; begin with no file because it has many tests.

    pytest-xdist would leave files of few tests, which are our longest ones, to the end, one process alone with each.
    """
    if not config.option.markexpr:
        config.option.markexpr = "not slow"
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees what runs outside of the tests kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPLITPOINT_CACHE", str(tmp_path_factory.mktemp("cache") / "session"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _host_measured_once() -> Iterator[None]:
    """This machine's rates, really measured, but once a process and number of threads: seven seconds each time."""
    from splitpoint.planner.profiling.host import measure_host

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("splitpoint.planner.profiling.model_profile.measure_host", functools.cache(measure_host))
        yield


@pytest.fixture(autouse=True)
def _empty_cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _own_cache: None) -> None:
    """Nor what another test kept: some replace a decoder by one that lies."""
    name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]
    folder = Path(os.environ["SPLITPOINT_CACHE"]).with_name(name)
    monkeypatch.setenv("SPLITPOINT_CACHE", str(folder))


@pytest.fixture(scope="session")
def nets() -> ModuleType:
    """tests/nets.py, which importlib mode does not let tests import by name."""
    return _sibling("nets")


@pytest.fixture(scope="session")
def strategies() -> ModuleType:
    """tests/strategies.py."""
    return _sibling("strategies")


@pytest.fixture(scope="session")
def make_point() -> Callable[..., Evaluated]:
    """`make_point(payload=..., latency=..., drop=...)` of tests/points.py."""
    function: Callable[..., Evaluated] = _sibling("points").make_point
    return function


@pytest.fixture(scope="session")
def make_needs() -> Callable[..., Requirements]:
    """`make_needs(deadline_s=...)` of tests/points.py."""
    function: Callable[..., Requirements] = _sibling("points").make_needs
    return function


@pytest.fixture(scope="session")
def exported(nets: ModuleType) -> Callable[..., bytes]:
    """`exported("resnet18", input_side, **options)`: the torch network as ONNX, each exported once a session."""
    from splitpoint.profiles.network.torch_model import export_module

    @functools.cache
    def export(name: str, input_side: int, **options: Any) -> bytes:
        return export_module(getattr(nets, name)(**options), (1, 3, input_side, input_side))

    return export


@pytest.fixture(scope="session")
def torch_graph(exported: Callable[..., bytes]) -> Callable[..., ModelGraph]:
    """As `exported`, in canonical form."""

    @functools.cache
    def load(name: str, input_side: int, **options: Any) -> ModelGraph:
        return load_graph(exported(name, input_side, **options), name=name)

    return load


@pytest.fixture(scope="session")
def host() -> Device:
    """A device with made-up rates, for what needs one but not its numbers."""
    runtime = Runtime(name="onnxruntime", provider="CPUExecutionProvider", threads=1, precision="fp32")
    names = ("dense_macs_s", "pointwise_macs_s", "depthwise_macs_s", "matmul_macs_s", "bytes_s")
    rates: Any = dict.fromkeys(names, 1e9)
    compute = Compute(**rates, node_overhead_s=1e-6, run_overhead_s=1e-6)
    return Device(name="host", description="for tests", runtime=runtime, compute=compute)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.onnx, labelled and unlabelled data, a stored profile and configurations (planning.py)."""
    folder = tmp_path_factory.mktemp("home")
    _sibling("planning").fill_home(folder)
    return folder


@pytest.fixture(scope="session")
def split_plan(home: Path) -> Path:
    """A plan directory that cuts the small network; do not change it."""
    written: Path = _sibling("planning").write_split(home)
    return written


@pytest.fixture
def copied(split_plan: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    return Path(shutil.copytree(split_plan, tmp_path / "plan"))


@pytest.fixture(scope="session")
def pictures() -> NDArray[np.uint8]:
    """The small network's pictures (N, H, W, 3)."""
    array: NDArray[np.uint8] = _sibling("planning").pictures()
    return array


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`run("verify", folder)` gives exit code, standard output and standard error."""
    from splitpoint.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def _sibling(name: str) -> ModuleType:
    full = f"splitpoint_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]
