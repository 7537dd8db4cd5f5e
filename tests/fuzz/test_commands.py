"""The commands that attack for hours, for seconds: they still run, and find nothing."""

from __future__ import annotations

import sys

import pytest

from splitpoint.tests.fuzz import endurance, kills, resumed


def test_endurance(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["endurance", "--calls", "300", "--loads", "20", "--replacements", "3"])
    assert endurance.main() == 0
    out = capsys.readouterr().out
    assert "300 calls of head and of tail from 8 threads: 0 differ from serial" in out
    assert "beside 3 replacements: {'whole': " in out


@pytest.mark.slow
def test_kills(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["kills", "--kills", "3"])
    assert kills.main() == 0
    assert "3 kills, 0 problems" in capsys.readouterr().out


@pytest.mark.slow
def test_resumed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["resumed", "--kills", "2"])
    assert resumed.main() == 0
    assert " 0 problems" in capsys.readouterr().out
