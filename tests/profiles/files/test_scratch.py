"""A temporary folder that is full, missing or read-only is one sentence that names it and TMPDIR."""

from __future__ import annotations

import errno
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files import scratch
from splitpoint.profiles.files.scratch import explain_full_folder, make_scratch_folder, scratch_folder
from splitpoint.profiles.network import canonical
from splitpoint.profiles.network.graph import load_graph

SIDE = 200  # of a weight that takes 160 kB in the temporary folder
SENTENCE = r"the temporary folder \(TMPDIR\) cannot be written: "


def model() -> bytes:
    text = (
        f'<ir_version: 8, opset_import: ["": 17]> g (float[1,{SIDE}] x) => (float[1,{SIDE}] y) {{ y = MatMul (x, w) }}'
    )
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((SIDE, SIDE), np.float32), "w"))
    return bytes(proto.SerializeToString())


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """`mount("size=64k")` gives a folder that is a file system of its own, or skips."""
    folder = tmp_path / "small"
    folder.mkdir()

    def call(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("this user may not mount a file system")
        return folder

    yield call
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


@pytest.mark.parametrize("kilobytes", [4, 64, 164])  # what is written first, the weights, or the result
def test_a_full_folder_is_named(
    mount: Callable[[str], Path], kilobytes: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = mount(f"size={kilobytes}k")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(ProfileError, match=SENTENCE + "No space left on device") as caught:
        load_graph(model(), name="model")
    assert caught.value.at == str(folder)
    assert caught.value.fix == "make room, or set TMPDIR to another folder"
    assert list(folder.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_read_only_folder_is_named(mount: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(mount("ro")))
    with pytest.raises(ProfileError, match=SENTENCE + "Read-only file system"):
        make_scratch_folder()


def test_a_missing_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(ProfileError, match=SENTENCE + "No such file or directory"), scratch_folder():
        pass
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "absent")])
    with pytest.raises(ProfileError, match=SENTENCE + "No usable temporary directory found in .*absent"):
        make_scratch_folder()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ProfileError("ORT cannot")])
def test_a_full_folder_by_injection(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # where no file system can be mounted
    def fail(*arguments: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(canonical, "optimize_basic", fail)
    monkeypatch.setattr(scratch, "_try_to_write", lambda folder: OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(ProfileError, match=SENTENCE + "No space left on device"):
        load_graph(model(), name="model")
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"^ORT cannot"), explain_full_folder(tmp_path):
        raise ProfileError("ORT cannot")
    with pytest.raises(FileNotFoundError), explain_full_folder(tmp_path):
        (tmp_path / "absent").read_bytes()
