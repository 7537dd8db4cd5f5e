"""CI reads the oldest versions from pyproject.toml, in one place."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def requirement(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ".ci/requirement.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_requirement_is_printed_as_pip_takes_it() -> None:
    (bound,) = re.findall(r'"onnxruntime>=([0-9.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert requirement("onnxruntime").stdout == f"onnxruntime>={bound}\n"
    assert requirement("onnxruntime", "--oldest").stdout == f"onnxruntime=={bound}\n"
    assert requirement("optuna").stdout.startswith("optuna>=")


def test_what_is_not_required_ends_the_step() -> None:
    done = requirement("onnx-runtime", "--oldest")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pyproject.toml has no requirement onnx-runtime>=VERSION\n"


def test_ci_repeats_no_version() -> None:
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "python .ci/requirement.py onnxruntime --oldest" in text
    assert not re.search(r"onnxruntime[=<>]", text)
