"""The whole tool on a small network: plan, verify, export, two processes, and what happens when things go wrong."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import splitpoint.planner.write
from splitpoint import Plan
from splitpoint.cli import main
from splitpoint.codecs.huffman import HuffmanCoder
from splitpoint.codecs.protocol import Array, PayloadError
from splitpoint.codecs.rans import RansCoder
from splitpoint.planner.config import DataConfig, Need, PlanConfig, SearchConfig
from splitpoint.planner.flow import load_problem, plan
from splitpoint.profiles.catalog import load_device
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files import dump_yaml, write_yaml
from splitpoint.profiles.inputs import InputSpec
from splitpoint.profiles.runtime import open_session

SIDE, CLASSES, PICTURES = 16, 6, 60
SPEC = InputSpec(size=SIDE, resize="exact", mean=127.0, std=64.0)
CODECS = ("raw", "fp16", "brito-sq", "fast", "uniform-zstd", "range-rans")
Run = Callable[..., tuple[int, str, str]]


def small_model(bias: Sequence[float]) -> bytes:
    """Three convolutions, two of them strided, pooling and a linear layer, seeded."""
    rng = np.random.default_rng(5)
    nodes, weights, x, channels = [], [], "x", 3
    for i, (out, stride) in enumerate([(8, 2), (12, 2), (16, 1)]):
        kernel = (rng.normal(size=(out, channels, 3, 3)) / np.sqrt(4.5 * channels)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{i}"))
        nodes.append(helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4, strides=[stride] * 2))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
        x, channels = f"r{i}", out
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pool"], "pool"))
    nodes.append(helper.make_node("Flatten", ["pool"], ["flat"], "flatten"))
    weights.append(numpy_helper.from_array(rng.normal(size=(channels, CLASSES)).astype(np.float32), "fc"))
    weights.append(numpy_helper.from_array(np.asarray(bias, np.float32), "bias"))
    nodes.append(helper.make_node("Gemm", ["flat", "fc", "bias"], ["scores"], "linear"))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, (1, CLASSES))],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def pictures() -> Array:
    """Smooth seeded pictures (N, H, W, 3), uint8."""
    rng = np.random.default_rng(7)
    coarse = rng.normal(size=(PICTURES, 4, 4, 3))
    smooth = np.kron(coarse, np.ones((1, 4, 4, 1))) + 0.1 * rng.normal(size=(PICTURES, SIDE, SIDE, 3))
    return np.clip(127 + 64 * smooth, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.onnx, labelled and unlabelled data, a stored profile and configurations."""
    from splitpoint.profiles.inputs import preprocess

    folder = tmp_path_factory.mktemp("home")
    x = pictures()
    session = open_session(small_model([0] * CLASSES), level="all", threads=1)
    scores = np.concatenate([session.run({"x": preprocess(picture, SPEC)})["scores"] for picture in x])
    # Centred scores make every class common, so that an answer that ignores the input is mostly wrong.
    (folder / "model.onnx").write_bytes(small_model(-scores.mean(axis=0)))
    labels = (scores - scores.mean(axis=0)).argmax(axis=1)
    assert np.bincount(labels).max() < len(x) / 2
    np.savez(folder / "labelled.npz", x=x, y=labels)
    np.savez(folder / "plain.npz", x=x, group=np.array([f"scene {i // 5}" for i in range(len(x))]))
    assert main(["profile", str(folder / "model.onnx"), "--out", str(folder / "profile.yaml"), "--threads", "1"]) == 0
    slow = msgspec.structs.replace(load_device("raspberry-pi-4").compute, dense_macs_s=1e6)
    write_yaml(folder / "slow.yaml", msgspec.structs.replace(load_device("raspberry-pi-4"), name="slow", compute=slow))
    write_config(folder, "labelled.yaml", data="labelled.npz", need=Need(max_drop=0.2))
    write_config(folder, "plain.yaml", data="plain.npz", need=Need(min_agreement=0.7), device="slow.yaml")
    return folder


def write_config(folder: Path, name: str, *, data: str, need: Need, **changes: Any) -> Path:
    config = PlanConfig(
        model="model.onnx",
        input=SPEC,
        data=DataConfig(source=data),
        device="raspberry-pi-4",
        server="cloud-8core",
        link="lte-cat1",
        need=need,
        search=SearchConfig(evaluations=24, codecs=CODECS),
        threads=1,
    )
    write_yaml(folder / name, msgspec.structs.replace(config, **changes))
    return folder / name


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def split_plan(home: Path) -> Path:
    """A plan that cuts the network: everything else is ruled out by a payload that pictures exceed."""
    out = home / "split"
    config = load_problem(msgspec.structs.replace(_config(home / "labelled.yaml"), need=Need(max_drop=0.3)))
    outcome = plan(config, stored_profile=home / "profile.yaml")
    point = next(
        p
        for p in outcome.decision.front + outcome.points
        if p.candidate.placement == "split" and p.candidate.codec in ("brito-sq", "fast") and p.candidate.cut != "x"
    )
    splitpoint.planner.write.write_plan(outcome, point, out)
    return out


def _config(path: Path) -> PlanConfig:
    from splitpoint.planner.config import read_config

    return read_config(path)


@pytest.fixture
def copied(split_plan: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(split_plan, tmp_path / "plan"))


def test_two_runs_with_a_stored_profile_and_seed_agree(home: Path, run: Run, tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        arguments = ("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", tmp_path / name)
        code, _, err = run(*arguments)
        assert code in (0, 1), err  # 1: the report set may contradict
        lines = (tmp_path / name / "plan.yaml").read_text().splitlines()
        texts.append(
            ([line for line in lines if not line.startswith("created:")], (tmp_path / name / "front.csv").read_text())
        )
    assert texts[0] == texts[1]
    assert len(texts[0][1].splitlines()) > 24


def test_verify_passes_and_says_what_it_did_not_check(split_plan: Path, run: Run) -> None:
    code, out, _ = run("verify", split_plan, "--json")
    answer = json.loads(out)
    assert code == 0
    assert {check["name"]: check["status"] for check in answer["checks"]} == {
        "hashes": "passed",
        "exactness": "passed",
        "symbols": "passed",
        "payload": "passed",
        "top1": "passed",
        "latency": "not made",
    }
    assert "raspberry-pi-4" in answer["checks"][-1]["text"]


@pytest.mark.parametrize("name", ["head.onnx", "tail.onnx", "codec.npz", "whole.onnx", "report-inputs.npz"])
def test_verify_names_the_file_with_a_flipped_byte(copied: Path, run: Run, name: str) -> None:
    data = bytearray((copied / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copied / name).write_bytes(data)
    code, out, _ = run("verify", copied)
    assert code == 1
    assert name in out
    assert "1 failed" in out


def test_a_wrong_figure_in_the_plan_is_found(copied: Path, run: Run) -> None:
    text = (copied / "plan.yaml").read_text()
    plan_file = Plan.load(copied).file
    assert plan_file.report is not None
    wrong = msgspec.structs.replace(
        plan_file, report=msgspec.structs.replace(plan_file.report, payload_bytes=2 * plan_file.report.payload_bytes)
    )
    (copied / "plan.yaml").write_text(dump_yaml(wrong))
    code, out, _ = run("verify", copied)
    assert code == 1
    assert "✗ payload" in out
    assert text != (copied / "plan.yaml").read_text()


def test_head_and_tail_in_two_processes_that_share_only_their_files(split_plan: Path, tmp_path: Path) -> None:
    device, server = tmp_path / "device", tmp_path / "server"
    for folder, names in (
        (device, ("plan.yaml", "head.onnx", "codec.npz")),
        (server, ("plan.yaml", "tail.onnx", "codec.npz")),
    ):
        folder.mkdir()
        for name in names:
            shutil.copy(split_plan / name, folder / name)
    np.save(device / "picture.npy", pictures()[3])
    _python(
        "from splitpoint import Plan; import numpy as np; "
        "open('payload', 'wb').write(Plan.load('.').head(np.load('picture.npy')))",
        device,
    )
    shutil.copy(device / "payload", server / "payload")
    _python(
        "from splitpoint import Plan; import numpy as np; "
        "np.save('y.npy', Plan.load('.').tail(open('payload', 'rb').read()))",
        server,
    )
    here = Plan.load(split_plan)
    payload = here.head(pictures()[3])
    assert (device / "payload").read_bytes() == payload
    np.testing.assert_array_equal(np.load(server / "y.npy"), here.tail(payload))
    assert here.file.report is not None
    assert len(payload) < 2 * here.file.report.payload_bytes


def _python(code: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=folder, check=True, timeout=120)


def test_export_writes_every_point_without_searching(
    home: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "plan"
    run("plan", home / "plain.yaml", "--profile", home / "profile.yaml", "--out", source)
    with (source / "front.csv").open() as text:
        rows = {int(row["number"]): row for row in csv.DictReader(text) if row["number"]}
    assert len(rows) >= 2
    monkeypatch.setattr("splitpoint.planner.flow.search", lambda *a, **k: pytest.fail("searched again"))
    for number, row in rows.items():
        out = tmp_path / f"point{number}"
        code, _, err = run("export", source, "--point", number, "--out", out)
        assert code == 0, err
        file = Plan.load(out).file
        assert (file.point, file.codec.name) == (number, row["codec"])
        assert file.search.payload_bytes == pytest.approx(float(row["payload_bytes"]))
        assert run("verify", out)[0] == 0
    code, _, err = run("export", source, "--point", 99, "--out", tmp_path / "none")
    assert code == 3
    assert "no point 99" in err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("placement", ["device", "server"])
def test_plans_without_a_split_run_and_verify(home: Path, run: Run, tmp_path: Path, placement: str) -> None:
    problem = load_problem(_config(home / "labelled.yaml"))
    outcome = plan(problem, stored_profile=home / "profile.yaml")
    point = next(p for p in outcome.points if p.candidate.placement == placement)
    out = tmp_path / placement
    written = splitpoint.planner.write.write_plan(outcome, point, out)
    assert (out / "head.onnx").exists() == (placement == "device")
    assert (out / "tail.onnx").exists() == (placement == "server")
    payload = written.head(pictures()[0])
    assert np.asarray(written.tail(payload)).shape == (1, CLASSES)
    assert written.file.report is not None
    assert (written.file.report.payload_bytes == 0) == (placement == "device")
    assert run("verify", out)[0] == 0
    assert run("show", out)[0] == 0


def test_a_plan_without_data_runs_and_says_what_cannot_be_checked(home: Path, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "plan"
    code, _, err = run("plan", home / "plain.yaml", "--profile", home / "profile.yaml", "--no-data", "--out", out)
    assert code in (0, 1), err
    assert not (out / "whole.onnx").exists()
    assert not (out / "report-inputs.npz").exists()
    mine = Plan.load(out)
    assert np.asarray(mine.tail(mine.head(pictures()[0]))).shape == (1, CLASSES)
    code, text, _ = run("verify", out, "--json")
    answer = json.loads(text)
    assert (code, answer["count"]) == (0, {"passed": 1, "failed": 0, "warning": 0, "not made": 5})
    assert "plain.npz" in answer["checks"][1]["text"]
    assert run("export", out, "--point", 1, "--out", tmp_path / "other")[0] == 3


def test_nothing_feasible_says_what_is_nearest_and_writes_nothing(home: Path, run: Run, tmp_path: Path) -> None:
    arguments = ("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--deadline", "1us")
    code, out, _ = run(*arguments, "--out", tmp_path / "plan")
    assert code == 1
    assert "No candidate meets latency <= 1 µs" in out
    assert "would fit with latency <=" in out
    assert list(tmp_path.iterdir()) == []


def test_accuracy_comes_from_the_payload(split_plan: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """An entropy decoder that gives zeros must cost accuracy; otherwise something passes the payload by."""
    for kind in (HuffmanCoder, RansCoder):
        monkeypatch.setattr(
            kind, "decode", lambda self, payload: {s.name: np.zeros(s.shape, s.dtype) for s in self.specs}
        )
    code, out, _ = run("verify", split_plan, "--json")
    status = {check["name"]: check["status"] for check in json.loads(out)["checks"]}
    assert code == 1
    assert status["symbols"] == "failed"
    assert status["top1"] == "failed"


def test_evaluation_loses_accuracy_with_a_decoder_of_zeros(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        HuffmanCoder, "decode", lambda self, payload: {s.name: np.zeros(s.shape, s.dtype) for s in self.specs}
    )
    config = msgspec.structs.replace(
        _config(home / "labelled.yaml"), search=SearchConfig(evaluations=8, codecs=("brito-sq",), max_cuts=2)
    )
    outcome = plan(load_problem(config), stored_profile=home / "profile.yaml")
    broken = [p for p in outcome.points if p.candidate.codec == "brito-sq"]
    assert broken
    assert max(p.accuracy.value for p in broken) < 0.8, [(p.candidate, p.accuracy.value) for p in broken]


def test_a_payload_of_another_plan_or_damaged_is_refused(split_plan: Path, copied: Path) -> None:
    mine = Plan.load(split_plan)
    payload = mine.head(pictures()[0])
    other = msgspec.structs.replace(mine.file, files=mine.file.files | {"tail.onnx": "0" * 64})
    (copied / "plan.yaml").write_text(dump_yaml(other))
    with pytest.raises(PayloadError):
        Plan.load(copied).tail(payload)
    for damaged in (payload[:-1], payload + b"x", bytes([payload[0] ^ 1]) + payload[1:], b""):
        with pytest.raises(PayloadError):
            mine.tail(damaged)


def test_an_input_with_nan_is_refused_by_name_when_checked(split_plan: Path) -> None:
    mine = Plan.load(split_plan)
    x = np.zeros((1, 3, SIDE, SIDE), np.float32)
    x[0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN in 'x'"):
        mine.head(x, check=True)
    with pytest.raises(ValueError, match=r"expected the input 'x' as float32\[1, 3, 16, 16\], got float64\[3\]"):
        mine.head(np.zeros(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("format: '1.0'", "format: '1.9'"), "written by a newer splitpoint"),
        (lambda text: text.replace("format: '1.0'", "format: '2.0'"), "written by a newer splitpoint"),
        (lambda text: text + "surprise: 1\n", "surprise"),
        (lambda text: re.sub(r"\n  rate: \d+", "\n  rate: -1", text), "$.codec.rate"),
        (lambda text: text[: len(text) // 2], ""),
    ],
)
def test_a_bad_plan_file_is_refused(copied: Path, run: Run, change: Callable[[str], str], message: str) -> None:
    path = copied / "plan.yaml"
    path.write_text(change(path.read_text()))
    code, _, err = run("verify", copied)
    assert code == 3
    assert message in err
    assert "plan.yaml" in err


def test_an_interrupted_plan_leaves_the_old_one(
    home: Path, split_plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    out = Path(shutil.copytree(split_plan, tmp_path / "plan"))
    before = (out / "plan.yaml").read_bytes()

    def interrupt(*args: object, **kwargs: object) -> Iterator[None]:
        raise KeyboardInterrupt

    monkeypatch.setattr(splitpoint.planner.write, "run_report", interrupt)
    code, _, err = run("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", out)
    assert code == 130
    assert "interrupted" in err
    assert (out / "plan.yaml").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_a_killed_plan_leaves_the_old_one(home: Path, split_plan: Path, tmp_path: Path, run: Run) -> None:
    out = Path(shutil.copytree(split_plan, tmp_path / "plan"))
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    arguments = ["plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", out]
    code = (
        "import os, signal, splitpoint.planner.write as write; from splitpoint.cli import main\n"
        "write.run_report = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"main({[str(argument) for argument in arguments]!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=200, capture_output=True)
    assert done.returncode == -9
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    assert run("verify", out)[0] == 0


def test_a_full_disk_leaves_the_old_plan(
    home: Path, split_plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    out = Path(shutil.copytree(split_plan, tmp_path / "plan"))
    before = (out / "plan.yaml").read_bytes()

    def full(folder: Path, files: object) -> None:
        raise OSError(28, "No space left on device", str(folder))

    monkeypatch.setattr(splitpoint.planner.write, "_write_all", full)
    code, _, err = run("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", out)
    assert code == 3
    assert "No space left on device" in err
    assert (out / "plan.yaml").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_a_folder_that_is_no_plan_is_not_replaced(home: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    code, _, err = run("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", tmp_path / "mine")
    assert code == 3
    assert "is no plan directory" in err
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_exit_codes_of_bad_usage_and_bad_input(home: Path, tmp_path: Path, run: Run) -> None:
    assert run("plan", home / "model.onnx")[0] == 2  # no data
    assert run("plan", home / "labelled.yaml", "--deadline", "20 parsec")[0] == 2
    assert run("no-such-command")[0] == 2
    assert run("verify", tmp_path)[0] == 3
    assert run("plan", tmp_path / "missing.yaml")[0] == 3
    (tmp_path / "empty.onnx").write_bytes(b"")
    code, _, err = run("cuts", tmp_path / "empty.onnx")
    assert code == 3
    assert "empty.onnx" in err
    code, _, err = run("plan", home / "labelled.yaml", "--link", "wfi-5", "--out", tmp_path / "plan")
    assert code == 3
    assert "Did you mean 'wifi-5'?" in err
    code, _, err = run("plan", home / "plain.yaml", "--max-drop", "1%", "--out", tmp_path / "plan")
    assert code == 3
    assert "max_drop needs labels" in err


def test_a_profile_of_another_model_is_refused(home: Path, tmp_path: Path, run: Run) -> None:
    text = (home / "profile.yaml").read_text()
    sha = next(line for line in text.splitlines() if line.startswith("model_sha256:"))
    (tmp_path / "other.yaml").write_text(text.replace(sha, f"model_sha256: {'a' * 64}"))
    code, _, err = run("plan", home / "labelled.yaml", "--profile", tmp_path / "other.yaml", "--out", tmp_path / "p")
    assert code == 3
    assert "profile is of another model" in err


def test_every_command_prints_one_json_document(home: Path, split_plan: Path, run: Run, tmp_path: Path) -> None:
    commands: list[tuple[object, ...]] = [
        ("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--out", tmp_path / "plan"),
        ("profile", home / "model.onnx", "--threads", 1),
        ("cuts", home / "model.onnx"),
        ("show", split_plan),
        ("export", split_plan, "--point", 1, "--out", tmp_path / "point"),
        ("verify", split_plan),
        ("profiles",),
    ]
    for command in commands:
        code, out, err = run(*command, "--json")
        assert code in (0, 1), (command, err)
        assert isinstance(json.loads(out), dict), command


def test_cuts_lists_every_single_tensor_boundary(home: Path, run: Run) -> None:
    answer = json.loads(run("cuts", home / "model.onnx", "--json")[1])
    assert [row["tensors"] for row in answer["cuts"]] == [
        [t] for t in ("x", "c0", "r0", "c1", "r1", "c2", "r2", "pool", "flat")
    ]
    assert answer["macs"] == 8 * 8 * 8 * 27 + 4 * 4 * 12 * 72 + 4 * 4 * 16 * 108 + 16 * CLASSES


def test_reading_a_missing_half_names_the_file(copied: Path) -> None:
    (copied / "tail.onnx").unlink()
    mine = Plan.load(copied)
    payload = mine.head(pictures()[0])
    with pytest.raises(ProfileError, match=r"tail\.onnx is missing"):
        mine.tail(payload)
