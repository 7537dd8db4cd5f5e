"""Every task from the command line on a real network, and codecs that destroy the task: the default floor refuses them.

The networks (tests/task_nets.py) are fitted to scikit-learn's digits in closed form in under a second, seeded. What
destroys a task is put behind the decoder or behind the tail, so that the figures come through payload bytes.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import PlanFile
from splitpoint.planner.limits.need import Need
from splitpoint.planner.setup.config import DataConfig, PlanConfig, SearchConfig
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.files.structs import read_yaml, write_yaml
from splitpoint.profiles.library.catalog import load_device
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.model import ModelGraph

Run = Callable[..., tuple[int, str, str]]
Outputs = list[Array]
METRIC = '''
"""Metrics of digits."""

import numpy as np


def right_rank(outputs, truth):
    """One over the rank of the right class; equal scores come before it."""
    scores = outputs["scores"].ravel()
    answer = int(np.argmax(truth["scores"])) if isinstance(truth, dict) else truth
    return 1.0 / (scores >= scores[answer]).sum()
'''


def all_zero(outputs: Outputs) -> Outputs:
    return [np.zeros_like(y) for y in outputs]


def one_answer(outputs: Outputs) -> Outputs:
    """The same answer for every input, of the usual size."""
    rng = np.random.default_rng(0)
    return [rng.normal(y.mean(), y.std(), y.shape).astype(y.dtype) for y in outputs]


def noise(outputs: Outputs) -> Outputs:
    """Noise of the outputs' size, another for every input."""
    rng = np.random.default_rng(int(np.abs(outputs[0]).sum() * 1e6) % 2**32)
    return [rng.normal(y.mean(), y.std(), y.shape).astype(y.dtype) for y in outputs]


def reversed_order(outputs: Outputs) -> Outputs:
    """The positions of a sequence, the last first."""
    return [y[:, ::-1] for y in outputs]


def mirrored(outputs: Outputs) -> Outputs:
    """A map turned left to right, or a row of numbers the last first."""
    return [y[..., ::-1] for y in outputs]


DESTROYERS = {
    "classify": (all_zero, noise),
    "segment": (one_answer, mirrored),
    "embed": (one_answer, noise),
    "regress": (one_answer, mirrored),
    "sequence": (reversed_order, all_zero),
    "tensor": (all_zero, noise),
    "custom": (all_zero, noise),
}
NETS = {
    "classify": "classifier",
    "segment": "segmenter",
    "embed": "embedder",
    "regress": "regressor",
    "sequence": "reader",
    "tensor": "two_outputs",
    "custom": "classifier",
}
FLAGS = {
    "classify": ("--task", "classify"),
    "segment": ("--task", "segment"),
    "embed": ("--task", "embed"),
    "regress": ("--task", "regress"),
    "sequence": ("--task", "sequence", "--decode", "ctc"),
    "tensor": ("--task", "tensor"),
    "custom": ("--metric", "metrics.py:right_rank"),
}
NAMES = {
    "classify": ("agreement", "top1"),
    "segment": ("mIoU", "mIoU"),
    "embed": ("recall@1", "recall@1"),
    "regress": ("1-relMAE", "1-relMAE"),
    "sequence": ("1-TER", "1-TER"),
    "tensor": ("tensor", "tensor"),
    "custom": ("right_rank", "right_rank"),
}


@pytest.fixture(scope="session")
def task_nets() -> ModuleType:
    name = "splitpoint_tests_task_nets"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "task_nets.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def task_home(
    task_nets: ModuleType, make_profile: Callable[[ModelGraph], ModelProfile], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """`task_home(net)`: a folder with model.onnx, plain.yaml, labelled.yaml, profile.yaml and metrics.py."""

    @functools.cache
    def fill(net: str) -> Path:
        folder: Path = tmp_path_factory.mktemp(net)
        made = getattr(task_nets, net)()
        (folder / "model.onnx").write_bytes(made.model)
        np.savez(folder / "plain.npz", x=made.x)
        np.savez(folder / "labelled.npz", x=made.x, y=made.y)
        (folder / "metrics.py").write_text(METRIC)
        device = load_device("raspberry-pi-4")
        compute = msgspec.structs.replace(device.compute, dense_macs_s=1e5)  # so that splits are worth their latency
        write_yaml(folder / "slow.yaml", msgspec.structs.replace(device, name="slow", compute=compute))
        write_yaml(folder / "profile.yaml", make_profile(load_graph(made.model, name="model")))
        for name in ("plain", "labelled"):
            config = PlanConfig(
                model="model.onnx",
                input=InputSpec(kind="tensor"),
                data=DataConfig(source=f"{name}.npz"),
                device="slow.yaml",
                server="cloud-8core",
                link="lte-cat1",
                need=Need(),
                search=SearchConfig(
                    evaluations=8, max_cuts=4, race=False, codecs=("raw", "fp16", "uniform-zstd", "range-rans")
                ),
                threads=1,
            )
            write_yaml(folder / f"{name}.yaml", config)
        return folder

    return fill


def plan_task(run: Run, home: Path, task: str, data: str, out: Path, **flags: str) -> tuple[int, dict[str, Any]]:
    """Exit code and document of ``splitpoint plan``."""
    words = [str(home / w) if w.startswith("metrics.py") else w for w in FLAGS[task]]
    more = [text for name, value in flags.items() for text in (f"--{name}", value)]
    code, text, err = run(
        "plan", home / f"{data}.yaml", *words, *more, "--profile", home / "profile.yaml", "--out", out, "--json"
    )
    assert code in (0, 1), err
    return code, json.loads(text)


@pytest.mark.parametrize("data", ["plain", "labelled"])
@pytest.mark.parametrize("task", FLAGS)
def test_a_task_is_planned_and_verified(
    task: str, data: str, run: Run, task_home: Callable[[str], Path], tmp_path: Path
) -> None:
    labelled = data == "labelled" and task != "tensor"
    wide = {"max-drop": "3%"} if labelled else {}  # 40 report inputs seldom confirm one point to the point
    code, document = plan_task(run, task_home(NETS[task]), task, data, tmp_path / "plan", **wide)
    assert code == 0
    assert any(row["placement"] == "split" for row in document["front"])
    file = read_yaml(tmp_path / "plan" / "plan.yaml", PlanFile)
    assert file.task.name == task
    assert (file.metric.name, file.metric.against) == (NAMES[task][labelled], "labels" if labelled else "unsplit")
    assert file.report is not None
    assert file.report.metric == file.metric.name
    assert 0.5 < file.report.value <= 1
    code, text, _ = run("verify", tmp_path / "plan", "--json", "--trust-code")
    checks = {check["name"]: check for check in json.loads(text)["checks"]}
    assert (code, checks[file.metric.name]["status"]) == (0, "passed")
    assert file.metric.definition in checks[file.metric.name]["text"]


@pytest.mark.parametrize(
    ("task", "destroy", "data"),
    [
        *((task, destroy, "plain") for task, ways in DESTROYERS.items() for destroy in ways),
        *((task, ways[0], "labelled") for task, ways in DESTROYERS.items()),
    ],
)
def test_a_codec_that_destroys_the_task_is_refused(
    task: str,
    destroy: Callable[[Outputs], Outputs],
    data: str,
    run: Run,
    task_home: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tail = NetworkRuns.tail
    monkeypatch.setattr(
        NetworkRuns,
        "tail",
        lambda self, cut, tensors: destroy(tail(self, cut, tensors)),  # what every codec decodes to
    )
    code, document = plan_task(run, task_home(NETS[task]), task, data, tmp_path / "plan")
    assert code == 0  # all on the device is left
    assert document["evaluated"] > 5
    assert {row["placement"] for row in document["front"]} == {"device"}


@pytest.mark.parametrize("task", FLAGS)
def test_a_decoder_that_gives_zeros_is_refused(
    task: str, run: Run, task_home: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tail runs on zeros and its biases make the answer: one class, one vector, one text."""
    tail = NetworkRuns.tail

    def blind(self: NetworkRuns, cut: Cut, tensors: Mapping[str, Array]) -> Outputs:
        return tail(self, cut, {name: np.zeros_like(value) for name, value in tensors.items()})

    monkeypatch.setattr(NetworkRuns, "tail", blind)
    code, document = plan_task(run, task_home(NETS[task]), task, "plain", tmp_path / "plan")
    assert code == 0
    assert {row["placement"] for row in document["front"]} == {"device"}


def test_outputs_that_the_metric_does_not_read_are_compared_by_verify(
    run: Run, task_home: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, out = task_home("two_outputs"), tmp_path / "plan"
    code, _ = plan_task(run, home, "classify", "plain", out, output="scores")
    assert code == 0
    file = read_yaml(out / "plan.yaml", PlanFile)
    assert file.placement == "split"
    assert file.report is not None
    assert file.task.outputs == ("scores",)
    errors = {other.name: other.relative_error for other in file.report.output_errors}
    assert set(errors) == {"scores", "centre"}

    def check() -> dict[str, Any]:
        code, text, _ = run("verify", out, "--json", "--trust-code")
        found = {check["name"]: check for check in json.loads(text)["checks"]}
        assert code == (found["other outputs"]["status"] == "failed")
        return dict(found["other outputs"])

    passed = check()
    assert passed["status"] == "passed"
    error = errors["centre"]
    assert f"centre {error:.3g} measured, {error:.3g} planned" in passed["text"]
    assert "scores" not in passed["text"]
    tail = Plan.tail

    def worse(self: Plan, payload: bytes) -> Any:
        outputs = tail(self, payload)
        return {"scores": outputs["scores"], "centre": 1.2 * outputs["centre"]}

    monkeypatch.setattr(Plan, "tail", worse)
    failed = check()
    assert failed["status"] == "failed"
    assert "(!)" in failed["text"]


def test_a_task_that_reads_one_of_two_outputs_says_which_to_name(run: Run, task_home: Callable[[str], Path]) -> None:
    home = task_home("two_outputs")
    code, _, err = run("plan", home / "plain.yaml", "--task", "classify", "--profile", home / "profile.yaml")
    assert code == 3
    assert "--output scores" in err
    code, _, err = run("plan", home / "plain.yaml", "--task", "classify", "--output", "z")
    assert code == 3
    assert "the network has no output 'z', it has scores, centre" in err


def test_verify_runs_a_metric_of_the_users_own_only_if_it_is_the_same_file(
    run: Run, task_home: Callable[[str], Path], tmp_path: Path
) -> None:
    home, out, own = task_home("classifier"), tmp_path / "plan", tmp_path / "own.py"
    own.write_text(METRIC)
    code, _, err = run(
        *("plan", home / "plain.yaml", "--metric", f"{own}:right_rank", "--profile", home / "profile.yaml"),
        *("--out", out, "--json"),
    )
    assert code == 0, err
    definition = "One over the rank of the right class; equal scores come before it; its mean"
    assert read_yaml(out / "plan.yaml", PlanFile).metric.definition.startswith(definition)

    def check() -> dict[str, Any]:
        code, text, _ = run("verify", out, "--json", "--trust-code")
        assert code == 0
        checks = {check["name"]: check for check in json.loads(text)["checks"]}
        assert checks["payload"]["status"] == "passed"
        return dict(checks["right_rank"])

    assert check()["status"] == "passed"
    own.write_text(f"raise SystemExit({own.name!r})\n")
    changed = check()
    assert (changed["status"], "is not the one this plan was made with" in changed["text"]) == ("not checked", True)
    own.unlink()
    assert "cannot be read" in check()["text"]


def test_errors_of_the_users_metric_end_the_plan_with_their_place(
    run: Run, task_home: Callable[[str], Path], tmp_path: Path
) -> None:
    home, own = task_home("classifier"), tmp_path / "own.py"
    own.write_text("def wrong(outputs, truth):\n    return outputs['absent']\n")
    code, _, err = run("plan", home / "plain.yaml", "--metric", f"{own}:wrong", "--profile", home / "profile.yaml")
    assert code == 3
    assert "calling your metric failed: KeyError: 'absent'" in " ".join(err.split())
    assert "line 2, in wrong" in " ".join(err.split())


def test_the_default_floor_is_above_what_one_answer_for_all_would_get(
    run: Run, task_home: Callable[[str], Path], tmp_path: Path
) -> None:
    home = task_home("classifier")
    with np.load(home / "labelled.npz") as data:
        order = np.argsort(data["y"] != 3, kind="stable")
        few = np.concatenate([np.tile(order[:8], 11), order[-8:]])  # 88 of 96 are threes
        np.savez(home / "threes.npz", x=data["x"][few])
        np.savez(home / "one.npz", x=data["x"][np.tile(order[:1], 96)])

    def plan(data: str, *flags: str) -> Any:
        text = (home / "plain.yaml").read_text().replace("plain.npz", data)
        (home / "other.yaml").write_text(text)
        words = ("plan", home / "other.yaml", "--task", "classify", "--profile", home / "profile.yaml")
        code, out, err = run(*words, "--out", tmp_path / "plan", "--json", *flags)
        assert code in (0, 1), err  # the report set may contradict the choice
        return json.loads(out)

    raised = plan("threes.npz")
    (note,) = [note for note in raised["notes"] if "one answer for every input would get agreement 0.9" in note]
    (floor,) = re.findall(r"the default floor is (0\.9\d+) in place of 0\.9$", note)
    assert 0.94 < float(floor) < 0.98
    assert f"agreement >= {floor}" in raised["need"]
    asked = plan("threes.npz", "--min-agreement", "0.7")
    assert "agreement >= 0.7" in asked["need"]
    assert any("WARNING: one answer for every input" in note for note in asked["notes"])
    alike = plan("one.npz")
    assert "agreement >= 0.9" in alike["need"]
    assert any("WARNING: the unsplit network gives the same answer for all" in note for note in alike["notes"])


def test_masks_of_pictures_in_a_folder(run: Run, task_home: Callable[[str], Path], tmp_path: Path) -> None:
    """From the flags alone: a model, pictures and PNG masks of the pictures' size."""
    home = task_home("segmenter")
    with np.load(home / "labelled.npz") as data:
        for i, (x, mask) in enumerate(zip(data["x"][:40], data["y"][:40], strict=True)):
            for folder, values in (("pictures", 255 * x[0]), ("masks", mask)):
                (tmp_path / folder).mkdir(exist_ok=True)
                Image.fromarray(values.astype(np.uint8)).save(tmp_path / folder / f"{i:02}.png")
    words = (
        *("plan", home / "model.onnx", "--data", tmp_path / "pictures", "--labels", tmp_path / "masks"),
        *("--task", "segment", "--max-drop", "5%", "--profile", home / "profile.yaml", "--evaluations", "4"),
    )
    code, _, err = run(*words, "--device", home / "slow.yaml", "--out", tmp_path / "plan")
    assert code == 0, err
    file = read_yaml(tmp_path / "plan" / "plan.yaml", PlanFile)
    assert (file.metric.name, file.metric.against) == ("mIoU", "labels")
    (tmp_path / "masks" / "07.png").unlink()
    code, _, err = run(*words, "--out", tmp_path / "other")
    assert code == 3
    assert "no mask of 07.png" in err
