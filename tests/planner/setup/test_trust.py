"""Code that a configuration names runs when the user wrote it, not when it came with a plan."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from splitpoint.planner.deploy.task import Task
from splitpoint.planner.setup.config import override, read_config
from splitpoint.planner.setup.trust import check_trusted, code_of_config, code_of_task, comes_with_plan
from splitpoint.profiles.errors import ProfileError

Run = Callable[..., tuple[int, str, str]]
PLAN_YAML = "format: '3.0'\ncreated_by: splitpoint 0.1.0\n"
CODE = """
from pathlib import Path
(Path(__file__).parent / "ran").touch()
def make(): raise ValueError("the code ran")
"""


def write(folder: Path, text: str, plan: str | None = PLAN_YAML) -> Path:
    """A configuration in a folder that holds code, a model file and pictures, and a plan.yaml unless it is None."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    (folder / "code.py").write_text(CODE)
    (folder / "net.onnx").touch()
    if plan is not None:
        (folder / "plan.yaml").write_text(plan)
    (folder / "config.yaml").write_text(text)
    return folder / "config.yaml"


FIELDS = {
    "model": "model: code.py:make\ndata: {source: pictures}",
    "models[0].model": "model: net.onnx\nmodels: [{name: b, model: code.py:make}]\ndata: {source: pictures}",
    "data.source": "model: net.onnx\ndata: {source: code.py:make}",
    "train.source": "model: net.onnx\ndata: {source: pictures}\ntrain: {source: code.py:make}",
    "metric": "model: net.onnx\ndata: {source: pictures}\nmetric: code.py:make",
    "task.metric": "model: net.onnx\ndata: {source: pictures}\ntask: {name: custom, metric: code.py:make}",
    "task.decode": "model: net.onnx\ndata: {source: pictures}\ntask: {name: detect, decode: code.py:make}",
}


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_that_names_code_is_refused_in_a_plan(tmp_path: Path, run: Run, field: str) -> None:
    path = write(tmp_path / "plan", FIELDS[field])
    code, _, error = run("plan", path, "--out", tmp_path / "new")
    assert code == 3
    assert f"error: {field} runs code, {path.parent / 'code.py'}:make" in error
    assert "--trust-code" in error
    assert not (path.parent / "ran").exists()


def test_trusted_code_and_code_in_a_folder_of_the_users_own_run(tmp_path: Path, run: Run) -> None:
    text = "model: code.py:make\ndata: {source: code.py:make}\ninput: {kind: tensor}"
    for path, more in (
        (write(tmp_path / "plan", text), ["--trust-code"]),
        (write(tmp_path / "mine", text, plan=None), []),
    ):
        _, _, error = run("plan", path, "--out", tmp_path / "new", *more)
        assert (path.parent / "ran").exists(), error


def test_packages_are_code_and_names_of_our_decoders_are_not(tmp_path: Path) -> None:
    path = write(tmp_path, "model: package.module:make\ndata: {source: other.module:load}")
    assert code_of_config(read_config(path)) == (
        ("model", "package.module:make"),
        ("data.source", "other.module:load"),
    )
    path = write(tmp_path, "model: net.onnx\ndata: {source: pictures}\ntask: {name: detect, decode: yolox}")
    assert code_of_config(read_config(path)) == ()
    check_trusted(str(path), read_config(path), trust_code=False)


def test_code_that_a_flag_names_is_the_users(tmp_path: Path) -> None:
    path = write(tmp_path, FIELDS["data.source"])
    config = read_config(path)
    check_trusted(str(path), override(config, data={"source": "mine.py:load"}), trust_code=False)
    with pytest.raises(ProfileError, match=r"^data\.source runs code"):
        check_trusted(str(path), override(config, metric="mine.py:metric"), trust_code=False)
    check_trusted("net.py:make", config, trust_code=False)  # no file: everything is from flags


@pytest.mark.parametrize(
    ("plan", "foreign"),
    [
        (PLAN_YAML, True),
        ("model: net.onnx\n", False),  # a configuration that is called plan.yaml
        ("format: '3.0'\n", False),
        ("[", True),  # it cannot be parsed
        ("- 1", True),
        ("a: " + "[" * 1000, True),
        (None, False),
    ],
)
def test_a_folder_with_a_plan_makes_a_configuration_foreign(tmp_path: Path, plan: str | None, foreign: bool) -> None:
    assert comes_with_plan(write(tmp_path, "", plan)) == foreign
    below = write(tmp_path / "more" / "deeper", "", None)
    assert comes_with_plan(below) == foreign


def test_links_do_not_hide_the_plan_and_the_configuration_itself_is_none(tmp_path: Path) -> None:
    foreign = write(tmp_path / "plan", FIELDS["model"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").symlink_to(foreign)
    assert comes_with_plan(tmp_path / "mine" / "config.yaml")
    own = write(tmp_path / "own", "", None)
    own.rename(own.with_name("plan.yaml")).write_text("[")
    assert not comes_with_plan(tmp_path / "own" / "plan.yaml")
    os.mkfifo(own.with_name("pipe"))
    (tmp_path / "own" / "plan.yaml").unlink()
    own.with_name("pipe").rename(own.with_name("plan.yaml"))
    own.write_text("")
    assert comes_with_plan(own)
    assert not comes_with_plan(tmp_path / "none.yaml")


def test_a_configuration_whose_name_is_only_an_ending_is_one(tmp_path: Path) -> None:
    path = write(tmp_path, FIELDS["model"]).rename(tmp_path / ".yaml")
    with pytest.raises(ProfileError, match="model runs code"):
        check_trusted(str(path), read_config(path), trust_code=False)


def test_what_a_task_takes_from_outside_a_plan() -> None:
    assert code_of_task(Task(name="classify")) == ()
    assert code_of_task(Task(name="custom", metric="m.py:f")) == ("m.py:f",)
    assert code_of_task(Task(name="detect", decode="yolox")) == ()
    task = Task(name="detect", decode="d.py:f", anchors="a.npy")
    assert code_of_task(task) == ("d.py:f", "a.npy")
