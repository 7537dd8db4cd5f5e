"""The benchmark of a plan's time: in which order plans run, with which kept results, and what its table says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from splitpoint.benchmarks import plan_time
from splitpoint.tests import small_plan


def test_checkouts_take_turns_and_share_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str, str, tuple[str, ...]]] = []

    def take(tree: Path, config: Path, kept: Path, flags: Sequence[str]) -> tuple[float, float]:
        seen.append((tree.name, str(kept), tuple(flags)))
        return float(len(seen)), 0.5

    monkeypatch.setattr(plan_time, "time_plan", take)
    out = tmp_path / "time.json"
    arguments = ["plan.yaml", "--old", str(tmp_path), "--rounds", "3", "--other-link", "lte-cat1", "--out", str(out)]
    assert plan_time.main(arguments) == 0
    here = Path(plan_time.__file__).resolve().parents[1].name
    assert [tree for tree, _, _ in seen] == [here, tmp_path.name] * 9
    assert [flags for _, _, flags in seen] == ([(), (), (), (), ("--link", "lte-cat1"), ("--link", "lte-cat1")] * 3)
    assert len({kept for _, kept, _ in seen}) == 6  # one for each checkout and round
    assert "this  cold             7.0     1.0    13.0     0.5" in capsys.readouterr().out
    rows = json.loads(out.read_text())["rows"]
    assert [row["elapsed_s"] for row in rows] == [*range(1, 19)]
    assert {row["run"] for row in rows} == {"cold", "again", "other link"}


@pytest.mark.slow
def test_it_runs_plans(tmp_path: Path) -> None:
    small_plan.write_inputs(tmp_path)
    (tmp_path / "plan.yaml").write_text(
        "model: model.onnx\ndata: {source: photos}\ndevice: raspberry-pi-4\nthreads: 1\n"
        "search: {evaluations: 4, codecs: [fast]}\nneed: {max_drop: 50 %}\n"
    )
    elapsed_s, cpu_s = plan_time.time_plan(
        Path(plan_time.__file__).resolve().parents[1], tmp_path / "plan.yaml", tmp_path, ()
    )
    assert elapsed_s > 0
    assert cpu_s > 0
    assert (tmp_path / "probe").is_dir()
