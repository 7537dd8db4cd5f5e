"""Errors of the user's own code: one error with the file, the line and the cause, whatever is raised."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from splitpoint.planner.samples.readers import load_factory
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.user_code import call_user_code, import_named, strip_escapes, user_error
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.torch_model import export_torch

NET = """
import sys
import torch
from torch import nn

def weights():
    raise KeyError("head.weight")

def make():
    weights()

def leave():
    sys.exit(2)

def narrow(size):
    return nn.Linear(size, 2)

class Wrong(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(5, 2)
    def forward(self, x):
        return self.last(x)

class Branch(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x + 1
        return x * 2

class Singular(nn.Module):
    def forward(self, x):
        return torch.linalg.svd(x)[1]

class Rows(list):
    pass

def late():
    class Lazy(Rows):
        def __len__(self):
            return 1
        def __iter__(self):
            raise OSError("row 0 is gone")
    return Lazy()
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    return tmp_path / "net.py"


@pytest.mark.parametrize(
    ("name", "cause", "line"),
    [
        ("make", "calling it failed: KeyError: 'head.weight'", "line 7, in weights"),
        ("leave", "calling it failed: SystemExit: 2", "line 13, in leave"),
        ("narrow", "calling it failed: TypeError: narrow() missing 1 required positional argument: 'size'", ""),
        ("Wrong", "running the module on float32 1x3 failed: RuntimeError: mat1", "line 23, in forward"),
        ("Branch", "torch.onnx.export failed: GuardOnDataDependentSymNode", "line 27, in forward"),
        ("Singular", "torch.onnx.export failed: DispatchError: No ONNX function found", ""),
    ],
)
def test_a_torch_module_that_fails_names_line_and_cause(net: Path, name: str, cause: str, line: str) -> None:
    with pytest.raises(ProfileError) as caught:
        export_torch(f"{net}:{name}", (1, 3))
    text = str(caught.value)
    assert text.startswith(f"{net}:{name}: {cause}")
    assert caught.value.at == (f"{net}, {line}" if line else f"{net}:{name}")
    assert "\x1b" not in text
    assert "github.com" not in text  # torch's advice to its developers


def test_a_sequence_that_fails_when_it_is_read(net: Path) -> None:
    with pytest.raises(ProfileError, match="OSError: row 0 is gone") as caught:
        load_factory(f"{net}:late", InputSpec(kind="tensor"))
    assert caught.value.at == f"{net}, line 43, in __iter__"


@pytest.mark.parametrize(
    ("text", "cause", "line"),
    [
        ("import torch\n1 / 0\n", "ZeroDivisionError: division by zero", 2),
        ("def f(:\n", "SyntaxError", 1),
        ("\nimport no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing'", 2),
        ("raise SystemExit\n", "SystemExit", 1),
    ],
)
def test_a_file_that_cannot_be_imported(tmp_path: Path, text: str, cause: str, line: int) -> None:
    (tmp_path / "code.py").write_text(text)
    with pytest.raises(ProfileError, match="importing it failed") as caught:
        import_named(f"{tmp_path}/code.py:f")
    assert cause in caught.value.message
    assert caught.value.at == f"{tmp_path}/code.py, line {line}"


def test_interrupting_is_no_error_of_the_users() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_user_code(interrupted, at="net.py:make")


def test_an_error_of_ours_in_the_users_code_stays_as_it_is() -> None:
    def refuse() -> None:
        raise ProfileError("a sample has either a picture or a tensor", at="s")

    with pytest.raises(ProfileError, match="a sample has either") as caught:
        call_user_code(refuse, at="data.py:load")
    assert caught.value.at == "s"


def test_a_cause_is_its_first_paragraph_without_escapes_and_not_endless() -> None:
    error = user_error(ValueError("\x1b[96mstep 1\x1b[0m of 3\nmore\n\nadvice"), at="net.py:make", doing="calling it")
    assert error.message == "net.py:make: calling it failed: ValueError: step 1 of 3 more"
    assert len(user_error(ValueError("x" * 9999), at="a", doing="b").message) < 400
    assert strip_escapes("\x1b[1;31mred\x1b[0m\x1b[K") == "red"


def test_a_module_of_torch_itself_is_called() -> None:
    assert isinstance(call_user_code(lambda: nn.Linear(2, 2), at="torch.nn:Linear")(torch.zeros(1, 2)), torch.Tensor)
