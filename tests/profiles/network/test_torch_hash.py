"""Hashes of torch modules: equal in every process, different with anything that a module computes with."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.torch_hash import module_sha256
from splitpoint.profiles.network.torch_model import load_module

HASHED = """
import torch
from torch import nn

class Base(nn.Module):
    def forward(self, x):
        return torch.relu(self.norm(self.conv(x))) * self.gain + self.offset

class Net(Base):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4)
        self.gain, self.offset = 2.0, torch.ones(1)
        self.register_buffer("unsaved", torch.zeros(2), persistent=False)
        self.scale = nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
"""
HASH = """
import sys
from splitpoint.profiles.network.torch_hash import module_sha256
from splitpoint.profiles.network.torch_model import load_module
print(module_sha256(load_module(sys.argv[1] + ":Net")))
"""


def hash_in_a_process(file: Path, hash_seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", HASH, str(file)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write_net(path: Path, text: str = HASHED) -> Path:
    path.write_text(text)
    return path


def hash_of(path: Path, text: str = HASHED) -> str:
    return module_sha256(load_module(f"{write_net(path, text)}:Net"))


def test_equal_modules_have_equal_hashes_in_two_processes(tmp_path: Path) -> None:
    files = [write_net(tmp_path / name) for name in ("a.py", "b.py")]
    assert hash_in_a_process(files[0], "1") == hash_in_a_process(files[1], "2") == hash_of(tmp_path / "c.py")


def test_training_mode_does_not_change_the_hash(tmp_path: Path) -> None:
    module = load_module(f"{write_net(tmp_path / 'net.py')}:Net")
    assert module_sha256(module.train()) == module_sha256(module.eval())


CHANGES: dict[str, Callable[[Any], object]] = {
    "a weight": lambda net: net.conv.weight.data[0, 0, 0, 0].add_(1),
    "a weight of another type": lambda net: net.conv.double(),
    "a weight of another shape": lambda net: setattr(net, "scale", nn.Parameter(net.scale.data.reshape(2, 1))),
    "a bfloat16 weight": lambda net: net.scale.data[1].add_(1),
    "a buffer": lambda net: net.norm.running_mean.add_(1),
    "an integer buffer": lambda net: net.norm.num_batches_tracked.add_(1),
    "the type of a buffer, with the same bytes": lambda net: setattr(net, "unsaved", net.unsaved.int()),
    "a buffer that is not saved": lambda net: net.unsaved[1].add_(1),
    "a tensor that is an attribute": lambda net: net.offset.add_(1),
    "a number": lambda net: setattr(net, "gain", 3.0),
    "a number of a part of torch": lambda net: setattr(net.conv, "stride", (1, 1)),
    "a part": lambda net: setattr(net, "norm", nn.Identity()),
    "a name": lambda net: net.register_parameter("renamed", net._parameters.pop("scale")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_module_computes_with_changes_its_hash(tmp_path: Path, name: str) -> None:
    module = load_module(f"{write_net(tmp_path / 'net.py')}:Net")
    before = module_sha256(module)
    CHANGES[name](module)
    assert module_sha256(module) != before


@pytest.mark.parametrize(("old", "new"), [("torch.relu", "torch.tanh"), ("Net(Base)", "Other(Base)")])
def test_the_source_of_a_module_changes_its_hash(tmp_path: Path, old: str, new: str) -> None:
    changed = HASHED.replace(old, new) + ("Net = Other\n" if new.startswith("Other") else "")
    assert hash_of(tmp_path / "a.py") != hash_of(tmp_path / "b.py", changed)


def test_two_classes_of_one_file_have_different_hashes(tmp_path: Path) -> None:
    text = HASHED.replace("Net(Base)", "Common(Base)") + "class Net(Common): pass\nclass Other(Common): pass\n"
    file = write_net(tmp_path / "net.py", text)
    assert len({module_sha256(load_module(f"{file}:{name}")) for name in ("Net", "Other")}) == 2


def test_the_source_of_a_base_class_in_another_file_changes_the_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    hashes = []
    for name, text in [("base_one", "x + 1"), ("base_two", "x + 2")]:
        base = f"from torch import nn\nclass Base(nn.Module):\n    def forward(self, x):\n        return {text}\n"
        write_net(tmp_path / f"{name}.py", base)
        module = type("Net", (importlib.import_module(name).Base,), {"__module__": __name__})()
        hashes.append(module_sha256(module))
    assert hashes[0] != hashes[1]


def test_traced_code_changes_the_hash() -> None:
    """torch.fx gives every traced module the same source file."""
    relu, tanh = (torch.fx.symbolic_trace(nn.Sequential(part)) for part in (nn.ReLU(), nn.ReLU()))
    assert module_sha256(relu) == module_sha256(tanh)
    node = next(node for node in tanh.graph.nodes if node.op == "call_module")
    node.op, node.target = "call_function", torch.tanh
    tanh.recompile()
    assert module_sha256(relu) != module_sha256(tanh)


def test_a_class_without_a_source_file_is_an_error() -> None:
    module = type("Net", (nn.Module,), {"__module__": "made_up"})()
    with pytest.raises(ProfileError, match="class Net of module 'made_up' has no source file"):
        module_sha256(module)
