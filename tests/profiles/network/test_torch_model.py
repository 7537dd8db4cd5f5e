"""Torch modules by path: exported with the shape they were given, named by module, silent; errors in one sentence."""

from __future__ import annotations

import builtins
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network import torch_model
from splitpoint.profiles.network.runtime import IoSpec, open_session
from splitpoint.profiles.network.torch_model import (
    export_module,
    export_torch,
    fvcore_operators,
    is_torch_spec,
    load_module,
)

FACTORY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5))

    def forward(self, x):
        return torch.relu(self.stem(x))

def make():
    print("loading weights")
    torch.manual_seed(0)
    return Net()

def number():
    return 3

ready = make()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "user_net.py"
    path.write_text(FACTORY)
    return path


def test_constants_and_an_order_of_its_own_leave_names_and_numbers(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Two(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.words = nn.Embedding(9, 4)\n"
        "        self.out = nn.Linear(4, 2)\n"
        "    def forward(self, ids, mask, rate, bias=None):\n"
        "        h = self.out(self.words(ids)).mean(1) * (rate / 2)\n"
        "        return h * mask.sum(1, keepdim=True) + (0 if bias is None else bias)\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    return Two()\n"
    )
    spec = f"{tmp_path / 'two.py'}:make"
    shapes, constants = {"mask": (1, 3), "ids": (1, 3)}, {"rate": 4, "bias": [1.0, 2.0]}
    data = export_torch(spec, shapes, constants=constants)
    session = open_session(data)
    assert [(i.name, i.dtype) for i in session.inputs] == [("mask", "float32"), ("ids", "int64")]
    names = {node.name for node in onnx.load_model_from_string(data).graph.node}
    assert any(name.startswith("out/") for name in names), names
    assert not any("bound" in name for name in names), names
    module = load_module(spec)
    mask, ids = np.ones((1, 3), np.float32), np.array([[1, 2, 3]])
    with torch.no_grad():
        expected = module(torch.from_numpy(ids), torch.from_numpy(mask), 4, torch.tensor([1.0, 2.0])).numpy()
    (answer,) = session.run({"mask": mask, "ids": ids}).values()
    np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-6)  # float32 sums in another order
    with pytest.raises(ProfileError, match="forward has no parameter 'words'"):
        export_torch(spec, {"ids": (1, 3), "words": (1, 3)}, constants=constants)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("package.module:factory", True),
        ("path/file.py:factory", True),
        ("model.onnx", False),
        ("C:/models/net.onnx", False),
        (":factory", False),
    ],
)
def test_what_is_a_spec(source: str, expected: bool) -> None:
    assert is_torch_spec(source) is expected


def test_export_computes_what_the_module_computes(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = export_torch(f"{file}:make", (1, 3, 8, 8))
    assert capfd.readouterr() == ("", "")
    session = open_session(model)
    assert [(spec.name, spec.shape) for spec in session.inputs] == [("input", (1, 3, 8, 8))]
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    module = load_module(f"{file}:make")
    assert not module.training
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    # Both sum 27 products in float32, in another order.
    assert np.allclose(next(iter(session.run({"input": x}).values())), expected, rtol=0, atol=1e-5)


def test_nodes_are_named_by_their_module(file: Path) -> None:
    nodes = onnx.load_model_from_string(export_torch(f"{file}:make", (1, 3, 8, 8))).graph.node
    assert [node.name for node in nodes] == ["stem.0/Conv", "Relu"]


def test_the_same_module_gives_the_same_bytes(file: Path) -> None:
    assert export_torch(f"{file}:make", (1, 3, 8, 8)) == export_torch(f"{file}:make", (1, 3, 8, 8))


def test_a_module_itself_will_do(file: Path) -> None:
    assert isinstance(load_module(f"{file}:ready"), nn.Module)


def test_exporting_leaves_training_mode_as_it_was() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5)).train()
    module[1].eval()
    data = export_module(module, (1, 3, 8, 8))
    assert [part.training for part in module] == [True, False]
    assert module.training
    assert [node.op_type for node in onnx.load_model_from_string(data).graph.node] == ["Conv"]


def message(spec: str, shape: tuple[int, ...] = (1, 3, 8, 8)) -> str:
    with pytest.raises(ProfileError) as caught:
        export_torch(spec, shape)
    assert spec in str(caught.value)
    return str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "no such file" in message(f"{tmp_path}/absent.py:make")


def test_a_module_that_is_not_there() -> None:
    assert "cannot import 'no_such_package.net'" in message("no_such_package.net:make")


def test_a_factory_that_is_not_there(file: Path) -> None:
    text = message(f"{file}:maker")
    assert "has no 'maker'" in text
    assert "make" in text.splitlines()[-1]


def test_a_factory_that_gives_something_else(file: Path) -> None:
    assert "gave a int, not a torch.nn.Module" in message(f"{file}:number")


def test_a_file_with_a_syntax_error(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def make(:\n")
    text = message(f"{tmp_path}/broken.py:make")
    assert "importing it failed: SyntaxError" in text
    assert "broken.py, line 1" in text


def test_an_input_that_does_not_fit(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = message(f"{file}:make", (1, 5, 8, 8))
    assert "running the module on float32 1x5x8x8 failed: RuntimeError" in text
    assert "user_net.py, line 11, in forward" in text
    assert capfd.readouterr() == ("", "")


def test_a_module_that_ignores_its_input() -> None:
    class Constant(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
            return torch.ones(2)

    model = export_module(Constant(), (1, 3))
    assert len(onnx.load_model_from_string(model).graph.input) == 1  # canonical form then refuses the constant output


def test_without_torch_one_sentence_says_what_to_install(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> ModuleType:
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    assert "pip install 'splitpoint[plan]'" in message(f"{file}:make")


def test_without_fvcore_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith("fvcore"):
            raise ModuleNotFoundError("No module named 'fvcore'", name="fvcore")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ProfileError, match="pip install"):
        fvcore_operators(nn.Linear(2, 2), (1, 2))


class Kept:
    """What `export_torch` asks to be kept, by key."""

    def __init__(self) -> None:
        self.made: dict[str, bytes] = {}
        self.asked: list[str] = []

    def __call__(self, key: str, convert: Callable[[], bytes]) -> bytes:
        self.asked.append(key)
        if key not in self.made:
            self.made[key] = convert()
        return self.made[key]


def test_a_kept_export_is_the_same_bytes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, spec = Kept(), f"{file}:make"
    expected = export_torch(spec, (1, 3, 8, 8))
    assert export_torch(spec, (1, 3, 8, 8), keep=kept) == expected
    monkeypatch.setattr(torch.onnx, "export", lambda *args, **kwargs: pytest.fail("converted again"))
    assert export_torch(spec, (1, 3, 8, 8), keep=kept) == expected
    assert kept.asked == [kept.asked[0]] * 2


def test_a_kept_export_of_a_wrapped_module_is_the_same_bytes() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor, rate: float) -> torch.Tensor:
            return torch.as_tensor(self.out(x) * rate)

    module, inputs = Scaled(), [IoSpec(name="x", shape=(1, 3), dtype="float32")]
    kept = Kept()
    for rate in (2.0, 3.0):
        expected = export_module(module, inputs, constants={"rate": rate})
        assert export_module(module, inputs, constants={"rate": rate}, keep=kept) == expected
        assert export_module(module, inputs, constants={"rate": rate}, keep=kept) == expected
    assert len(kept.made) == 2


CHANGED = {"helper.py": "act = 'sigmoid'", "weight": "1.5", "constant": "[2.0, 3.5]", "attribute": "2"}


@pytest.mark.parametrize("place", [*CHANGED, "shape"])
def test_what_changes_the_network_changes_what_is_kept(place: str, tmp_path: Path) -> None:
    """Each lies where a hash of the class and its plain attributes does not see it."""
    for name, text in {
        "helper.py": "act = 'relu'",
        "weight": "1.0",
        "constant": "[2.0, 3.0]",
        "attribute": "1",
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "net.py").write_text(
        "import json, pathlib, runpy, torch\nfrom torch import nn\n"
        "here = pathlib.Path(__file__).parent\n"
        "def read(name):\n"
        "    return json.loads((here / name).read_text())\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.act = getattr(torch, runpy.run_path(str(here / 'helper.py'))['act'])\n"
        "        self.w = nn.Parameter(torch.full((2, 3), read('weight')))\n"
        "        self.hidden = {'power': read('attribute'), 'constant': torch.tensor(read('constant'))}\n"
        "    def forward(self, x):\n"
        "        return self.act(x @ self.w.T) ** self.hidden['power'] + self.hidden['constant']\n"
        "def make():\n"
        "    return Net()\n"
    )
    kept, spec = Kept(), f"{tmp_path / 'net.py'}:make"
    made = export_torch(spec, (1, 3), keep=kept)
    assert export_torch(spec, (1, 3), keep=kept) == made
    assert len(kept.made) == 1
    if place in CHANGED:
        (tmp_path / place).write_text(CHANGED[place])
    again = export_torch(spec, (2, 3) if place == "shape" else (1, 3), keep=kept)
    assert len(kept.made) == 2
    assert again != made


def test_a_module_that_is_traced_in_another_way_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    module, kept = nn.Linear(3, 2), Kept()
    expected = export_module(module, (1, 3))
    monkeypatch.setattr(torch_model, "_trace", lambda module, specs: None)
    assert export_module(module, (1, 3), keep=kept) == expected
    monkeypatch.undo()
    monkeypatch.setattr(torch_model, "program_sha256", lambda program: None)
    assert export_module(module, (1, 3), keep=kept) == expected
    assert kept.asked == []
