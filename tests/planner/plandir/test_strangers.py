"""A plan directory from a stranger: what is not the listed file is neither run, shown nor copied."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx.numpy_helper
import pytest

from splitpoint import Plan
from splitpoint.planner.deploy.file_names import PLAN
from splitpoint.planner.output.documents.show import show_document
from splitpoint.planner.plandir.verify import verify
from splitpoint.planner.plandir.writing import export_point
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import dump_yaml

Run = Callable[..., tuple[int, str, str]]


def forge(folder: Path, name: str, data: bytes) -> None:
    """Change a file, and its hash in plan.yaml."""
    (folder / name).write_bytes(data)
    file = Plan.load(folder).file
    listed = {"files": dict(file.files), "contents": dict(file.contents)}
    listed["files" if name in file.files else "contents"][name] = hashlib.sha256(data).hexdigest()
    (folder / PLAN).write_text(dump_yaml(msgspec.structs.replace(file, **listed)))


def rescaled(model: bytes) -> bytes:
    """The model with the first of its float weights doubled."""
    proto = onnx.load_model_from_string(model)
    for weight in proto.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size:
            weight.CopyFrom(onnx.numpy_helper.from_array(2 * values, weight.name))
            return bytes(proto.SerializeToString())
    raise AssertionError("no weights")


def decoder_of(folder: Path) -> str:
    contents = Plan.load(folder).file.contents
    return next(name for name in contents if name.endswith("decoder0.onnx"))


def status(folder: Path, name: str = "hashes", **options: Any) -> tuple[str, str]:
    found = next(check for check in verify(folder, **options) if check.name == name)
    return found.status, found.text


def test_every_file_of_the_directory_is_compared_with_its_hash(fixed_copy: Path) -> None:
    file = Plan.load(fixed_copy).file
    for name in (*file.files, *file.contents):
        honest = (fixed_copy / name).read_bytes()
        (fixed_copy / name).write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
        assert status(fixed_copy)[0] == "failed", name
        assert name in status(fixed_copy)[1]
        (fixed_copy / name).unlink()
        assert status(fixed_copy) == ("failed", f"{name} is missing ({fixed_copy / name})")
        (fixed_copy / name).write_bytes(honest)
    assert status(fixed_copy)[0] == "passed"


def test_a_decoder_with_other_weights_is_neither_verified_nor_exported(fixed_copy: Path, tmp_path: Path) -> None:
    name = decoder_of(fixed_copy)
    number = int(name.split("/")[1])
    (fixed_copy / name).write_bytes(rescaled((fixed_copy / name).read_bytes()))
    assert status(fixed_copy)[0] == "failed"
    with pytest.raises(ProfileError, match=r"decoder0\.onnx is not the file this plan was written with"):
        export_point(fixed_copy, number, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["whole.onnx", "report-inputs.npz", "front.csv", "config.yaml", "points/1/point.yaml"])
def test_export_reads_only_what_is_listed(fixed_copy: Path, tmp_path: Path, name: str) -> None:
    (fixed_copy / name).write_bytes((fixed_copy / name).read_bytes() + b"\n")
    with pytest.raises(ProfileError, match="is not the file this plan was written with"):
        export_point(fixed_copy, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_that_are_not_listed_are_named_and_not_copied(fixed_copy: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    (private / "secret.txt").write_text("secret")
    (fixed_copy / "points" / "99").symlink_to(private)
    (fixed_copy / "notes.txt").write_text("?")
    assert status(fixed_copy, "other files") == (
        "warning",
        "plan.yaml does not list notes.txt, points/99: not checked, and nothing reads them",
    )
    export_point(fixed_copy, 1, tmp_path / "out")
    assert not (tmp_path / "out" / "points" / "99").exists()
    assert not (tmp_path / "out" / "notes.txt").exists()
    assert "secret" not in "".join(path.name for path in (tmp_path / "out").rglob("*"))


def test_a_point_without_its_coder_is_not_exported(fixed_copy: Path, tmp_path: Path) -> None:
    file = Plan.load(fixed_copy).file
    contents = {name: value for name, value in file.contents.items() if not name.endswith("codec.npz")}
    (fixed_copy / PLAN).write_text(dump_yaml(msgspec.structs.replace(file, contents=contents)))
    with pytest.raises(ProfileError, match=r"a split without codec\.npz"):
        export_point(fixed_copy, int(decoder_of(fixed_copy).split("/")[1]), tmp_path / "out")


@pytest.mark.parametrize("kind", ["link", "pipe", "device"])
def test_a_file_that_is_no_file_is_not_read(fixed_copy: Path, tmp_path: Path, kind: str) -> None:
    path = fixed_copy / "front.csv"
    path.rename(tmp_path / "front.csv")
    if kind == "link":
        path.symlink_to(tmp_path / "front.csv")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    assert status(fixed_copy)[0] == "failed"
    with pytest.raises(ProfileError, match="expected a"):
        show_document(fixed_copy, None)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("name", ["head.onnx", "tail.onnx", "whole.onnx", "decoder"])
def test_weights_outside_a_model_are_refused(fixed_copy: Path, tmp_path: Path, name: str, inside: bool) -> None:
    name = decoder_of(fixed_copy) if name == "decoder" else name
    proto = onnx.load_model_from_string((fixed_copy / name).read_bytes())
    weight = next(w for w in proto.graph.initializer if w.raw_data)
    place = "config.yaml" if inside else "../../etc/passwd"
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=place)
    forge(fixed_copy, name, proto.SerializeToString())
    assert status(fixed_copy)[0] == "failed"
    assert "external" in status(fixed_copy)[1]
    plan = Plan.load(fixed_copy)
    number = int(name.split("/")[1]) if "/" in name else 1
    use = {
        "head.onnx": lambda: plan.head(np.zeros((16, 16, 3), np.uint8)),
        "tail.onnx": lambda: plan.tail(plan.head(np.zeros((16, 16, 3), np.uint8))),
    }.get(name, lambda: export_point(fixed_copy, number, tmp_path / "out"))
    with pytest.raises(ProfileError, match="external"):
        use()


def test_verify_binds_a_plan_to_what_its_sender_published(fixed_copy: Path, run: Run) -> None:
    published = Plan.load(fixed_copy).sha256
    assert run("verify", fixed_copy, "--expect", published)[0] == 0
    assert published in run("show", fixed_copy)[1].replace("\n", "")
    assert json.loads(run("show", fixed_copy, "--json")[1])["sha256"] == published
    forge(fixed_copy, "tail.onnx", rescaled((fixed_copy / "tail.onnx").read_bytes()))
    code, _, err = run("verify", fixed_copy, "--expect", published)
    assert code == 3
    assert "this is another plan" in err


@pytest.fixture
def custom(fixed_copy: Path, tmp_path: Path) -> Path:
    """A plan whose metric is code that leaves a trace when it is run, with the right hash."""
    code = tmp_path / "metric.py"
    code.write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'trace')!r}).touch()\n"
        "def share(outputs, truth):\n    return 1.0\n"
    )
    file = Plan.load(fixed_copy).file
    task = msgspec.structs.replace(file.task, name="custom", metric=f"{code}:share")
    use = msgspec.structs.replace(file.metric, sha256=hashlib.sha256(code.read_bytes()).hexdigest())
    (fixed_copy / PLAN).write_text(dump_yaml(msgspec.structs.replace(file, task=task, metric=use)))
    return fixed_copy


def test_code_that_a_plan_names_is_run_only_when_it_is_trusted(custom: Path, tmp_path: Path, run: Run) -> None:
    found, text = status(custom, Plan.load(custom).file.search.metric)
    assert found == "not checked"
    assert "--trust-code" in text
    assert "metric.py:share" in text
    run("verify", custom)
    show_document(custom, None)
    assert not (tmp_path / "trace").exists()
    run("verify", custom, "--trust-code")
    assert (tmp_path / "trace").exists()


def test_an_export_does_not_run_code_that_is_not_trusted(custom: Path, tmp_path: Path, run: Run) -> None:
    code, _, err = run("export", custom, "--point", 1, "--out", tmp_path / "out")
    assert code == 3
    assert "--trust-code" in err
    assert not (tmp_path / "trace").exists()
    assert not (tmp_path / "out").exists()
    run("export", custom, "--point", 1, "--out", tmp_path / "out", "--trust-code")
    assert (tmp_path / "trace").exists()
