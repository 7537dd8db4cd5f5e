"""The small network of tests/planning.py with a profile written by hand: nothing is measured, so plans take a second.

Every node takes 10 µs and every coder 1 ns a symbol on the host that the profile names, which is no real machine.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import pytest

from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.store import CODERS
from splitpoint.planner.cost.price import PREPROCESS
from splitpoint.planner.flow import plan
from splitpoint.planner.limits.need import Need
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.config import SearchConfig, read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.profiles.files.structs import write_yaml
from splitpoint.profiles.library.catalog import load_device
from splitpoint.profiles.machine.device import Coder, Serial
from splitpoint.profiles.machine.machine import Machine
from splitpoint.profiles.measurement.measure import PROFILE_FORMAT
from splitpoint.profiles.measurement.model_profile import ModelProfile, NodeTiming, Samples
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import preprocess
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session

NODE_S, SYMBOL_S = 1e-5, 1e-9
MACHINE = Machine(
    cpu="made by hand",
    physical_cores=1,
    logical_cpus=1,
    arch="x",
    os="x",
    python="3",
    numpy="2",
    onnxruntime="1",
    provider="CPUExecutionProvider",
    threads=1,
    precision="fp32",
    optimization="ORT_ENABLE_ALL",
)


@pytest.fixture(scope="session")
def make_profile() -> Callable[[ModelGraph], ModelProfile]:
    """`make_profile(graph)` is a profile in which every node takes `NODE_S`."""
    return _profile


@pytest.fixture(scope="session")
def fixed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.onnx, labelled.npz, labelled.yaml, slow.yaml (a device) and fixed.yaml (the profile)."""
    planning = _planning()
    folder = tmp_path_factory.mktemp("fixed")
    x = planning.pictures()
    session = open_session(planning.small_model([0] * planning.CLASSES), level="all", threads=1)
    scores = np.concatenate([session.run({"x": preprocess(picture, planning.SPEC)})["scores"] for picture in x])
    centred = scores - scores.mean(axis=0)  # so that every class is seen
    (folder / "model.onnx").write_bytes(planning.small_model(-scores.mean(axis=0)))
    np.savez(folder / "labelled.npz", x=x, y=centred.argmax(axis=1))
    device = load_device("raspberry-pi-4")
    slow = msgspec.structs.replace(
        device, name="slow", compute=msgspec.structs.replace(device.compute, dense_macs_s=1e6)
    )
    write_yaml(folder / "slow.yaml", slow)
    write_yaml(folder / "fixed.yaml", _profile(load_graph((folder / "model.onnx").read_bytes(), name="model")))
    planning.write_config(folder, "labelled.yaml", data="labelled.npz", need=Need(max_drop=0.3))
    return folder


@pytest.fixture(scope="session")
def fixed_result(fixed_home: Path) -> SearchResult:
    """What planning the labelled data gives when the drop is limited; several points on the front."""
    config = msgspec.structs.replace(
        read_config(fixed_home / "labelled.yaml"),
        device=str(fixed_home / "slow.yaml"),
        search=SearchConfig(evaluations=16, codecs=("raw", "fast", "brito-sq", "range-rans"), max_cuts=3, race=False),
    )
    return plan(load_problem(config), stored_profile=fixed_home / "fixed.yaml")


@pytest.fixture(scope="session")
def fixed_plan(fixed_result: SearchResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan directory that cuts inside the network and codes symbols; do not change it."""
    point = next(
        p
        for p in fixed_result.decision.front + fixed_result.points
        if p.candidate.placement == "split" and p.candidate.codec in ("fast", "brito-sq") and p.candidate.cut != "x"
    )
    folder = tmp_path_factory.mktemp("plans") / "plan"
    write_plan(fixed_result, point, folder)
    return folder


@pytest.fixture
def fixed_copy(fixed_plan: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    return Path(shutil.copytree(fixed_plan, tmp_path / "plan"))


def _profile(graph: ModelGraph) -> ModelProfile:
    total_s = NODE_S * len(graph.nodes)
    names = (*CODERS, *PICTURES, PREPROCESS)
    coders = {name: Coder(encode_s_per_symbol=SYMBOL_S, decode_s_per_symbol=SYMBOL_S) for name in names}
    host = msgspec.structs.replace(
        load_device("raspberry-pi-4"), name="made by hand", serial=Serial(coders=coders, zstd_bytes_s=1e8)
    )
    return ModelProfile(
        format=PROFILE_FORMAT,
        model=graph.name,
        model_sha256=graph.sha256,
        machine=MACHINE,
        measured="2026-01-01",
        whole=Samples(n=20, min_s=total_s, median_s=total_s, mad_s=0.0),
        nodes=tuple(NodeTiming(name=node.name, seconds=NODE_S) for node in graph.nodes),
        host=host,
        retest_error=0.0,
    )


def _planning() -> ModuleType:
    full = "splitpoint_tests_planning"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, Path(__file__).parents[1] / "planning.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]
