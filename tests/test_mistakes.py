"""Mistakes typed as a user would: each ends before the first stage with its message, next step and exit code.

A row is what is typed after `splitpoint`, the exit code (2: usage, 3: bad input), and parts of what is printed.
Words in capitals are configurations of the fixture `place`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from splitpoint.planner.output.terminal.console import StageBars

USAGE, BAD_INPUT = 2, 3


class Mistake(NamedTuple):
    """What is typed, the exit code, and what the error says."""

    typed: str
    code: int
    says: tuple[str, ...]


PLAN = "plan model.onnx --data pictures"
MISTAKES = (
    # The command and its flags
    Mistake("plna model.onnx", USAGE, ("No such command 'plna'",)),
    Mistake("plan model.onnx", USAGE, ("--data", "a model needs sample inputs")),
    Mistake(f"{PLAN} --dedline 50ms", USAGE, ("No such option: --dedline", "--deadline")),
    Mistake(f"{PLAN} --deadline 50", USAGE, ("--deadline", 'got "50"', "Did you mean '50 ms'?")),
    Mistake(f"{PLAN} --deadline -5ms", USAGE, ("--deadline", "at least 0", '"-5ms"')),
    Mistake(f"{PLAN} --max-drop -1%", USAGE, ("--max-drop", "at least 0", '"-1%"')),
    Mistake(f"{PLAN} --max-drop 150%", USAGE, ("--max-drop", "at most 1", '"150%"')),
    Mistake(f"{PLAN} --min-agreement 90", USAGE, ("--min-agreement", "at most 1", "Did you mean '90 %'?")),
    Mistake(f"{PLAN} --max-payload 4000", USAGE, ("--max-payload", "Did you mean '4000 B'?")),
    Mistake(f"{PLAN} --max-payload 4Kb", USAGE, ("--max-payload", "Did you mean '4 kB'?")),
    Mistake(f"{PLAN} --deadline 50ms --deadline-share 100%", USAGE, ("--deadline-share", "less than 1")),
    Mistake(f"{PLAN} --server-load -3/s", USAGE, ("--server-load", "at least 0")),
    Mistake(f"{PLAN} --evaluations -1", USAGE, ("--evaluations", "greater than or equal to 0")),
    Mistake(f"{PLAN} --threads 0", USAGE, ("--threads", "greater than or equal to 1")),
    Mistake("cuts model.onnx --size 224,224", USAGE, ("--size", "such as 1x3x224x224", "'224,224'")),
    # Names and files
    Mistake(
        "plan modle.onnx --data pictures", BAD_INPUT, ("no such model file", "modle.onnx", "did you mean model.onnx")
    ),
    Mistake("plan weights.pth --data pictures", BAD_INPUT, (".pth files are not read", "export to ONNX")),
    Mistake("plan net.py --data pictures", BAD_INPUT, ("needs its factory", "net.py:NAME")),
    Mistake("plan model.onnx --data picture", BAD_INPUT, ("no such folder or file 'picture'", "did you mean pictures")),
    Mistake("plan model.onnx --data empty", BAD_INPUT, ("no pictures", "empty")),
    Mistake("plan model.onnx --data data.py:lod", BAD_INPUT, ("has no 'lod'", "it has: ", "load")),
    Mistake("plan model.onnx --data data.py:load", BAD_INPUT, ("FileNotFoundError", "data.py, line 3, in load")),
    Mistake(
        "plan net.py:make --data data.py:one", BAD_INPUT, ("calling it failed: KeyError: 'head'", "net.py, line 2")
    ),
    Mistake(f"{PLAN} --device raspbery-pi-4", BAD_INPUT, ("unknown device", "Did you mean 'raspberry-pi-4'")),
    Mistake(f"{PLAN} --server cloud-8", BAD_INPUT, ("unknown server", "Did you mean 'cloud-8core'")),
    Mistake(f"{PLAN} --link wfi-5", BAD_INPUT, ("unknown link", "Did you mean 'wifi-5'")),
    Mistake(f"{PLAN} --device my-board.yaml", BAD_INPUT, ("my-board.yaml", "no such file")),
    Mistake(
        f"{PLAN} --profile profil.yaml", BAD_INPUT, ("no such profile", "splitpoint profile MODEL --out profil.yaml")
    ),
    Mistake("profiles raspbery-pi-4", BAD_INPUT, ("unknown profile", "'raspberry-pi-4'", "splitpoint calibrate")),
    Mistake("calibrate --from net.py --threads 1 --out mine.yaml", BAD_INPUT, ("one column 'network'", "network,ms")),
    Mistake("verify pictures", BAD_INPUT, ("pictures", "plan.yaml")),
    # What is to be written
    Mistake(f"{PLAN} --out pictures", BAD_INPUT, ("no plan directory", "pictures", "another --out")),
    Mistake(f"{PLAN} --out model.onnx/plan", BAD_INPUT, ("model.onnx is a file, expected a folder", "another --out")),
    Mistake(f"{PLAN} --out /proc/plan", BAD_INPUT, ("cannot be written", "/proc/plan", "another --out")),
    Mistake("calibrate --out nowhere/me.yaml", BAD_INPUT, ("its folder does not exist", "mkdir -p nowhere")),
    Mistake("profile model.onnx --out pictures", BAD_INPUT, ("it is a folder, expected the name of a file",)),
    # A configuration
    Mistake("plan plna.yaml", BAD_INPUT, ("plna.yaml", "no such file")),
    Mistake("plan BARE.yaml", BAD_INPUT, ("$.need.deadline", 'got "55"', 'did you mean "55 ms"?')),
    Mistake("plan RANGE.yaml", BAD_INPUT, ("$.need.min_agreement", "at most 1", 'did you mean "90 %"?')),
    Mistake("plan FIELD.yaml", BAD_INPUT, ("unknown field 'deadlin'", "did you mean 'deadline'?")),
    Mistake(
        "plan CODEC.yaml", BAD_INPUT, ("unknown codec 'kltq-rns'", "did you mean 'kltq-rans'?", "$.search.codecs[1]")
    ),
    Mistake("plan OBJECTIVE.yaml", BAD_INPUT, ("unknown objective 'latncy'", "Did you mean 'latency'?")),
    Mistake(
        "plan SHARE.yaml", BAD_INPUT, ("a share of cases needs a deadline", "$.need.deadline_share", "add deadline")
    ),
    Mistake("plan DROP.yaml", BAD_INPUT, ("max_drop needs labels", "use min_agreement")),
    Mistake("plan LOAD.yaml", BAD_INPUT, ("load is given twice: 5 /s, and 3 devices of 2 /s", "$.shared_by", "remove")),
    Mistake("plan NOBODY.yaml", BAD_INPUT, ("$.shared_by.devices", ">= 1")),
    Mistake("plan CUT.yaml", BAD_INPUT, ("no cut after 'relu7'", "$.precision_cuts[0]", "relu")),
    Mistake("plan TWICE.yaml", BAD_INPUT, ("line 2", "key 'model' appears twice")),
)
CONFIGS = {
    "BARE": "need: {deadline: 55}",
    "RANGE": "need: {min_agreement: 90}",
    "FIELD": "need: {deadlin: 55 ms}",
    "CODEC": "search: {codecs: [raw, kltq-rns]}",
    "OBJECTIVE": "objectives: [latncy]",
    "SHARE": "need: {deadline_share: 99 %}",
    "DROP": "task: classify\nneed: {max_drop: 1 %}",
    "LOAD": "server_load: 5/s\nshared_by: {devices: 3, frame_rate: 2/s}",
    "NOBODY": "shared_by: {devices: 0, frame_rate: 2/s}",
    "CUT": "precisions: [fp32, int8]\nprecision_cuts: [relu7]",
}


@pytest.fixture(scope="module")
def place(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a user has it: a network, a folder of pictures, code of their own, configurations."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copy(home / "model.onnx", folder)
    (folder / "pictures").mkdir()
    (folder / "empty").mkdir()
    (folder / "weights.pth").write_bytes(b"PK")
    rng = np.random.default_rng(0)
    for i in range(24):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / "pictures" / f"{i}.png")
    (folder / "net.py").write_text("def make():\n    return {}['head']\n")
    one = "from splitpoint.planner.samples.dataset import Dataset, Sample\n"
    (folder / "data.py").write_text(f"{one}def load():\n    return open('absent.npz')\n{ONE}")
    for name, text in CONFIGS.items():
        (folder / f"{name}.yaml").write_text(f"model: model.onnx\ndata: {{source: pictures}}\n{text}\n")
    (folder / "TWICE.yaml").write_text("model: model.onnx\nmodel: model.onnx\n")
    return folder


ONE = """
def one():
    import numpy
    from splitpoint.profiles.network.inputs import InputSpec
    tensor = numpy.zeros((1, 3, 16, 16), numpy.float32)
    return Dataset(spec=InputSpec(kind="tensor"), samples=(Sample(name="a", group="a", tensor=tensor),))
"""


def contents(place: Path) -> list[str]:
    """Names of all files but what Python keeps of a module that it imported."""
    return sorted(path.name for path in place.rglob("*") if path.name != "__pycache__" and path.suffix != ".pyc")


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.typed)
def test_a_mistake_is_refused_at_once_with_what_to_type_next(
    mistake: Mistake,
    place: Path,
    run: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stages: list[str] = []
    monkeypatch.setattr(StageBars, "stage", lambda self, name, total: stages.append(name))
    monkeypatch.chdir(place)
    before = contents(place)
    code, out, err = run(*mistake.typed.split())
    assert (code, out, stages) == (mistake.code, "", [])
    assert [part for part in mistake.says if part not in err] == [], err
    assert "Traceback" not in err
    assert "\x1b" not in err
    assert contents(place) == before


def test_there_are_thirty_mistakes_and_more() -> None:
    assert len({mistake.typed for mistake in MISTAKES}) == len(MISTAKES) >= 30
