"""A plan that sends JPEG with the network's own tables: written, read, run and refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from splitpoint import Plan
from splitpoint.codecs.container import unpack
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.pictures.quant_tables import STANDARD, scale_tables
from splitpoint.planner.deploy.identity import plan_identity
from splitpoint.planner.plandir.verify import verify
from splitpoint.planner.plandir.writing import export_point, write_plan
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import preprocess

CODEC = PICTURES["jpeg-task"]
SIDE = 16  # of the small network's picture


def picture() -> Any:
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def coded(plan: Plan, payload: bytes) -> bytes:
    """The picture's file in a payload."""
    codec = plan.file.codec
    rate, (part,) = unpack(payload, codec_id=codec.id, plan_hash=plan_identity(plan.file), count=1)
    assert rate == codec.rate
    return part


def point_of(result: SearchResult, name: str) -> Evaluated:
    return next(p for p in result.points if p.candidate.placement == "server" and p.candidate.codec == name)


@pytest.fixture(scope="module")
def folder(fixed_result: SearchResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("task") / "plan"
    write_plan(fixed_result, point_of(fixed_result, "jpeg-task"), path)
    return path


def test_what_was_measured_is_what_the_plan_sends(fixed_result: SearchResult, folder: Path) -> None:
    point, plan = point_of(fixed_result, "jpeg-task"), Plan.load(folder)
    tables = fixed_result.quant_tables[point.candidate]
    assert plan.file.codec.tables == tables != STANDARD
    shown = next(s.picture for s in fixed_result.problem.split.search.samples if s.picture is not None)
    payload = plan.head(shown)
    rate = point.candidate.rate
    assert coded(plan, payload) == CODEC.with_tables(tables).encode(shown, rate)
    assert point.outcomes is not None
    assert len(payload) == point.outcomes.payload_bytes[0]
    assert {c.codec for c in fixed_result.quant_tables} == {"jpeg-task"}


def test_any_decoder_reads_what_is_sent(folder: Path) -> None:
    plan = Plan.load(folder)
    payload = plan.head(picture())
    with Image.open(io.BytesIO(coded(plan, payload))) as image:
        pixels = np.asarray(image)
        steps = [list(table) for table in image.quantization.values()]  # type: ignore[attr-defined]
    (fed,) = plan.symbols(payload).values()
    assert np.array_equal(fed, preprocess(pixels, plan.file.input))
    quality = int(CODEC.rates[plan.file.codec.rate].value)
    assert plan.file.codec.tables is not None
    assert steps == list(scale_tables(plan.file.codec.tables, quality))
    assert np.isfinite(np.asarray(plan.tail(payload))).all()
    assert len(plan.head(picture(), rate=0)) < len(payload)


def test_the_files_hold_what_the_plan_says(folder: Path) -> None:
    failed = [check for check in verify(folder) if check.status == "failed"]
    assert failed == []


def test_the_point_is_exported_with_its_tables(folder: Path, tmp_path: Path) -> None:
    plan = Plan.load(folder)
    again = export_point(folder, plan.file.point, tmp_path / "again")
    assert again.file.codec == plan.file.codec
    assert again.head(picture()) == plan.head(picture())


def changed(folder: Path, target: Path, change: Callable[[Any], object]) -> Path:
    tree = yaml.safe_load((folder / "plan.yaml").read_text())
    change(tree)
    target.mkdir()
    for path in folder.iterdir():
        if path.is_file() and path.name != "plan.yaml":
            (target / path.name).write_bytes(path.read_bytes())
    (target / "plan.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    return target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree["codec"].pop("tables"), "codec 'jpeg-task' without quantization tables"),
        (lambda tree: tree["codec"].update(name="jpeg"), "codec 'jpeg' with quantization tables"),
        (lambda tree: tree["codec"]["tables"]["luma"].pop(), r"\$\.codec\.tables\.luma"),
        (lambda tree: tree["codec"]["tables"]["chroma"].append(1), r"\$\.codec\.tables\.chroma"),
        (lambda tree: tree["codec"]["tables"]["luma"].__setitem__(5, 0), r"\$\.codec\.tables\.luma"),
        (lambda tree: tree["codec"]["tables"]["luma"].__setitem__(5, 2551), r"\$\.codec\.tables\.luma"),
        (lambda tree: tree["codec"]["tables"]["luma"].__setitem__(5, 2.5), r"\$\.codec\.tables\.luma"),
        (lambda tree: tree["codec"]["tables"].update(alpha=[1]), r"\$\.codec\.tables"),
    ],
)
def test_tables_of_a_stranger_are_refused(
    folder: Path, tmp_path: Path, change: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(ProfileError, match=message):
        Plan.load(changed(folder, tmp_path / "plan", change))


def test_a_plan_of_the_format_before_is_read(fixed_result: SearchResult, tmp_path: Path) -> None:
    """It has no tables, and its payloads are those of today."""
    new = write_plan(fixed_result, point_of(fixed_result, "jpeg"), tmp_path / "new")

    def older(tree: Any) -> None:
        tree["format"] = "5.2"
        del tree["codec"]["tables"]

    old = Plan.load(changed(tmp_path / "new", tmp_path / "old", older))
    assert old.file.codec.tables is None
    assert old.head(picture()) == new.head(picture())
    assert np.array_equal(np.asarray(old.tail(old.head(picture()))), np.asarray(new.tail(new.head(picture()))))
