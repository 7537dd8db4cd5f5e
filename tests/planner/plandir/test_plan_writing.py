"""What a plan directory holds, that an exported point is that point, and what is and is not replaced."""

from __future__ import annotations

import csv
import functools
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.codecs.registry import CODEC_IDS
from splitpoint.codecs.store import load_coders
from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import PointFile
from splitpoint.planner.plandir import writing as module
from splitpoint.planner.plandir.placing import check_replaceable
from splitpoint.planner.plandir.report import run_report
from splitpoint.planner.plandir.writing import export_point, write_plan
from splitpoint.planner.samples.npz import load_npz
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.config import read_config
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import dump_yaml, read_yaml

PARTS = ("prepare", "head", "encode", "link", "wait", "decode", "tail")  # of the latency, in the order of front.csv

Run = Callable[..., tuple[int, str, str]]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "front.csv").open() as text:
        return list(csv.DictReader(text))


def point_at(folder: Path, number: int) -> PointFile:
    return read_yaml(folder / "points" / str(number) / "point.yaml", PointFile)


def same(point: Evaluated, stored: PointFile) -> bool:
    """Whether a stored point is the measured one."""
    tensors = () if stored.cut is None else tuple(tensor.name for tensor in stored.cut.tensors)
    candidate = point.candidate
    return (
        (stored.variant, stored.placement, "+".join(tensors), stored.codec.name, stored.codec.rate)
        == (candidate.variant, candidate.placement, candidate.cut, candidate.codec, candidate.rate)
        and (stored.predicted, stored.search) == (point.cost, point.accuracy)
        and stored.codec.rate_label == point.label
    )


@pytest.fixture
def first(fixed_result: SearchResult) -> Evaluated:
    return fixed_result.decision.front[0]


@pytest.fixture
def outside(fixed_result: SearchResult) -> Evaluated:
    """A split that was measured and is not on the front."""
    front = fixed_result.decision.front
    return next(p for p in fixed_result.points if p not in front and p.candidate.placement == "split")


def test_front_points_are_numbered_in_their_order(fixed_result: SearchResult, first: Evaluated, tmp_path: Path) -> None:
    write_plan(fixed_result, first, tmp_path / "plan")
    front, rows = fixed_result.decision.front, rows_of(tmp_path / "plan")
    assert len(front) >= 4
    assert len(rows) == len(fixed_result.points) > len(front)
    assert [row["number"] for row in rows] == [*map(str, range(1, len(front) + 1)), *[""] * (len(rows) - len(front))]
    for row, point in zip(rows, front, strict=False):
        assert (row["codec"], row["rate"]) == (point.candidate.codec, point.label)
        assert float(row["payload_bytes"]) == point.cost.payload_bytes
        assert float(row["latency_s"]) == point.cost.latency_s
        assert [float(row[f"{part}_s"]) for part in PARTS] == [getattr(point.cost, f"{part}_s") for part in PARTS]
        assert (float(row["value"]), float(row["drop_high"])) == (point.accuracy.value, point.accuracy.drop_high)
    rest = [(float(row["payload_bytes"]), float(row["latency_s"])) for row in rows[len(front) :]]
    assert rest == sorted(rest)
    assert {"notes", "label", "latency_parts_s"}.isdisjoint(rows[0])
    folders = sorted(int(path.name) for path in (tmp_path / "plan" / "points").iterdir())
    assert folders == list(range(1, len(front) + 1))
    assert all(same(p, point_at(tmp_path / "plan", i)) for i, p in enumerate(front, start=1))
    assert [point_at(tmp_path / "plan", i).number for i in folders] == folders


def test_a_point_beside_the_front_comes_first(fixed_result: SearchResult, outside: Evaluated, tmp_path: Path) -> None:
    plan = write_plan(fixed_result, outside, tmp_path / "plan")
    front = fixed_result.decision.front
    assert plan.file.point == 1
    assert len(list((tmp_path / "plan" / "points").iterdir())) == len(front) + 1
    for number, point in enumerate((outside, *front), start=1):
        assert same(point, point_at(tmp_path / "plan", number))
    assert [row["number"] for row in rows_of(tmp_path / "plan")][: len(front) + 2] == [
        *map(str, range(1, len(front) + 2)),
        "",
    ]


@pytest.mark.parametrize("place", [0, -1])
def test_plan_yaml_is_of_the_point(fixed_result: SearchResult, fixed_home: Path, place: int, tmp_path: Path) -> None:
    front = fixed_result.decision.front
    point, number = front[place], range(1, len(front) + 1)[place]
    steps: list[None] = []
    plan = write_plan(fixed_result, point, tmp_path / "plan", advance=lambda: steps.append(None))
    file, problem = plan.file, fixed_result.problem
    assert plan.directory == tmp_path / "plan"
    assert (file.point, file.variant, file.placement) == (number, "given", point.candidate.placement)
    assert (file.predicted, file.search, file.codec.rate_label) == (point.cost, point.accuracy, point.label)
    assert (file.requirements, file.external) == (problem.needs, {})
    assert (file.device.name, file.server.name, file.link.name) == ("slow", "cloud-8core", "lte-cat1")
    assert len({file.device.sha256, file.server.sha256, file.link.sha256, file.profile_sha256}) == 4
    found = file.found_by
    assert (found.seed, found.trials, found.objectives) == (0, 16, ("latency", "payload", "drop"))
    assert (found.evaluations, found.candidates) == (len(fixed_result.points), fixed_result.table_size)
    assert file.profiled_on == fixed_result.profile.machine != file.planned_on
    assert (file.model.sha256, file.input) == (fixed_result.given.graph.sha256, problem.spec)
    report = load_npz(tmp_path / "plan" / "report-inputs.npz", file.input)
    assert report.sha256() == problem.split.report.sha256()
    assert file.report == run_report(plan, report, problem.metric)
    assert file.report.subset == "report"
    assert len(steps) == len(report) == file.report.n
    config = read_config(tmp_path / "plan" / "config.yaml")
    assert config == problem.config


def test_every_file_is_listed_once_with_its_hash(fixed_plan: Path) -> None:
    file, found = Plan.load(fixed_plan).file, contents(fixed_plan)
    assert set(file.files) & set(file.contents) == set()
    assert set(file.files) == {"codec.npz", "head.onnx", "report-inputs.npz", "tail.onnx", "whole.onnx"}
    assert list(file.files) == sorted(file.files)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in found.items() if name != "plan.yaml"}
    assert file.files | file.contents == hashes


def test_what_each_placement_is_made_of(fixed_result: SearchResult, tmp_path: Path) -> None:
    graph = fixed_result.given.graph
    expected = {
        "device": ({"head.onnx", "codec.npz"}, "none", CODEC_IDS["raw"], ()),
        "server": ({"tail.onnx"}, "picture", CODEC_IDS["png"], ("device", "server")),
    }
    for placement, (files, boundary, identifier, needs) in expected.items():
        point = next(p for p in fixed_result.points if p.candidate.placement == placement)
        plan = write_plan(fixed_result, point, tmp_path / placement)
        assert set(plan.file.files) == files | {"whole.onnx", "report-inputs.npz"}
        codec = plan.file.codec
        assert (codec.boundary, codec.id, codec.needs_splitpoint) == (boundary, identifier, needs)
        assert plan.file.cut is None
        model = "head.onnx" if placement == "device" else "tail.onnx"
        assert (tmp_path / placement / model).read_bytes() == whole_bytes(graph)


def test_a_split_says_where_and_how(fixed_result: SearchResult, fixed_plan: Path) -> None:
    file = Plan.load(fixed_plan).file
    assert file.cut is not None
    (tensor,) = file.cut.tensors
    cut = next(cut for cut in fixed_result.given.cuts.cuts if cut.name == tensor.name)
    known = fixed_result.given.graph.tensors[tensor.name]
    assert (tensor.shape, tensor.dtype, file.cut.after) == (known.shape, known.dtype, cut.after)
    assert (file.codec.id, file.codec.boundary) == (CODEC_IDS[file.codec.name], "symbols")
    assert file.codec.needs_splitpoint == ("device", "server")
    assert len(load_coders(fixed_plan / "codec.npz")) == 1


def test_the_input_that_crosses_as_it_is_has_no_head(fixed_result: SearchResult, tmp_path: Path) -> None:
    raw = next(p for p in fixed_result.points if (p.candidate.cut, p.candidate.codec) == ("x", "raw"))
    plan = write_plan(fixed_result, raw, tmp_path / "plan")
    assert "head.onnx" not in plan.file.files
    assert not (tmp_path / "plan" / "head.onnx").exists()
    assert (tmp_path / "plan" / "tail.onnx").read_bytes()


def test_an_exported_point_is_that_point(fixed_result: SearchResult, first: Evaluated, tmp_path: Path) -> None:
    source = tmp_path / "plan"
    write_plan(fixed_result, first, source)
    before = contents(source)
    for number, point in enumerate(fixed_result.decision.front, start=1):
        steps: list[None] = []
        got = export_point(source, number, tmp_path / f"export{number}", advance=functools.partial(steps.append, None))
        planned = write_plan(fixed_result, point, tmp_path / f"planned{number}")
        left, right = (
            msgspec.structs.replace(
                plan.file, created="", contents={k: v for k, v in plan.file.contents.items() if k != "plan.yaml"}
            )
            for plan in (got, planned)
        )
        assert left == right
        exported, direct = contents(tmp_path / f"export{number}"), contents(tmp_path / f"planned{number}")
        del exported["plan.yaml"], direct["plan.yaml"]
        assert exported == direct
        assert len(steps) == len(fixed_result.problem.split.report)
        if point.candidate.placement == "split":  # an exported plan exports the others too
            again = export_point(tmp_path / f"export{number}", 1, tmp_path / f"again{number}")
            assert again.file.predicted == first.cost
    assert contents(source) == before


def test_a_point_that_is_not_there(fixed_plan: Path, tmp_path: Path) -> None:
    last = len(list((fixed_plan / "points").iterdir()))
    for number in (0, last + 1):
        with pytest.raises(ProfileError, match=f"no point {number} in this plan") as caught:
            export_point(fixed_plan, number, tmp_path / "out")
        assert caught.value.fix == f"points: 1 to {last}"
    assert list(tmp_path.iterdir()) == []


def test_a_changed_network_is_not_exported(fixed_copy: Path, tmp_path: Path) -> None:
    file = Plan.load(fixed_copy).file
    wrong = msgspec.structs.replace(file, model=msgspec.structs.replace(file.model, sha256="ab" * 32))
    (fixed_copy / "plan.yaml").write_text(dump_yaml(wrong))
    with pytest.raises(ProfileError, match=r"the canonical form of whole\.onnx changed"):
        export_point(fixed_copy, 1, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_data_the_hashes_stay(fixed_result: SearchResult, first: Evaluated, tmp_path: Path) -> None:
    full = write_plan(fixed_result, first, tmp_path / "full")
    bare = write_plan(fixed_result, first, tmp_path / "bare", keep_data=False)
    config = fixed_result.problem.config
    assert bare.file.external == {"whole.onnx": config.model, "report-inputs.npz": config.data.source}
    assert (bare.file.files, bare.file.report) == (full.file.files, full.file.report)
    assert full.file.contents == bare.file.contents
    assert set(contents(tmp_path / "full")) - set(contents(tmp_path / "bare")) == {"whole.onnx", "report-inputs.npz"}
    with pytest.raises(ProfileError, match="written with --no-data"):
        export_point(tmp_path / "bare", 1, tmp_path / "out")
    check_replaceable(tmp_path / "bare")


def test_a_plan_takes_the_place_of_another(fixed_result: SearchResult, fixed_copy: Path, outside: Evaluated) -> None:
    before = contents(fixed_copy)
    plan = write_plan(fixed_result, outside, fixed_copy)
    after = contents(fixed_copy)
    assert plan.file.predicted == outside.cost
    assert after["codec.npz"] != before["codec.npz"]
    assert set(after) == {"plan.yaml", *plan.file.files, *plan.file.contents}
    assert sorted(path.name for path in fixed_copy.parent.iterdir()) == ["plan", "plan.1"]
    assert contents(fixed_copy.with_name("plan.1")) == before


def test_folders_are_made_and_an_empty_one_is_used(fixed_plan: Path, tmp_path: Path) -> None:
    export_point(fixed_plan, 1, tmp_path / "a" / "b" / "plan")
    (tmp_path / "empty").mkdir()
    export_point(fixed_plan, 1, tmp_path / "empty")
    assert (tmp_path / "empty" / "plan.yaml").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "empty"]
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["plan"]


@pytest.mark.parametrize("there", ["file", "folder", "plan of another kind", "added", "changed", "linked"])
def test_what_is_no_plan_is_not_replaced(fixed_plan: Path, tmp_path: Path, there: str) -> None:
    target = tmp_path / "out"
    if there == "file":
        target.write_text("mine")
    elif there in ("folder", "plan of another kind"):
        target.mkdir()
        (target / ("plan.yaml" if there != "folder" else "notes.txt")).write_text("steps: [1, 2]\n")
    else:
        shutil.copytree(fixed_plan, target)
    if there == "added":
        (target / "points" / "notes.txt").write_text("mine")
    elif there == "changed":
        (target / "config.yaml").write_text((target / "config.yaml").read_text() + "\n")
    elif there == "linked":
        (target / "data").symlink_to(fixed_plan)
    before = target.read_text() if there == "file" else contents(target)
    messages = {
        "file": "it exists and is no plan directory",
        "folder": "it exists and is no plan directory",
        "plan of another kind": "is not a plan that this version wrote",
        "added": "points/notes.txt is not part of the plan there",
        "changed": "config.yaml was changed",
        "linked": "data is not part of the plan there",
    }
    with pytest.raises(ProfileError, match=messages[there]):
        export_point(fixed_plan, 1, target)
    assert (target.read_text() if there == "file" else contents(target)) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_missing_file_of_the_old_plan_does_not_matter(fixed_copy: Path, fixed_plan: Path) -> None:
    (fixed_copy / "head.onnx").unlink()
    (fixed_copy / "points" / "1" / "point.yaml").unlink()
    export_point(fixed_plan, 1, fixed_copy)
    assert (fixed_copy / "head.onnx").is_file()


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (OSError(28, "No space left on device", "head.onnx"), ProfileError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (ProfileError("no"), ProfileError),
    ],
    ids=["full disk", "interrupt", "error"],
)
def test_a_failure_leaves_what_was_there(
    fixed_result: SearchResult,
    fixed_copy: Path,
    first: Evaluated,
    monkeypatch: pytest.MonkeyPatch,
    old: bool,
    raised: BaseException,
    seen: type[BaseException],
) -> None:
    target = fixed_copy if old else fixed_copy.with_name("new")
    before = contents(fixed_copy)

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise raised

    monkeypatch.setattr(module, "run_report", fail)
    with pytest.raises(seen) as caught:
        write_plan(fixed_result, first, target)
    if isinstance(raised, OSError):
        assert "cannot be written: No space left on device" in str(caught.value)
    assert contents(fixed_copy) == before
    assert [path.name for path in fixed_copy.parent.iterdir()] == ["plan"]


@pytest.mark.parametrize("place", ["plan.old", "plan.1"])
def test_a_rename_that_fails_brings_the_old_plan_back(
    fixed_result: SearchResult, fixed_copy: Path, first: Evaluated, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    before, rename = contents(fixed_copy), Path.rename

    def failing(self: Path, target: Path) -> Path:
        if place in (target.name, f"plan{target.suffix}"):
            raise OSError(5, "Input/output error", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(ProfileError, match="cannot be written: Input/output error"):
        write_plan(fixed_result, first, fixed_copy)
    assert contents(fixed_copy) == before
    assert [path.name for path in fixed_copy.parent.iterdir()] == ["plan"]


def test_a_file_put_there_meanwhile_is_kept(fixed_result: SearchResult, fixed_copy: Path, first: Evaluated) -> None:
    def put() -> None:
        (fixed_copy / "notes.txt").write_text("mine")

    with pytest.raises(ProfileError, match=r"notes\.txt is not part of the plan there"):
        write_plan(fixed_result, first, fixed_copy, advance=put)
    assert (fixed_copy / "notes.txt").read_text() == "mine"
    assert [path.name for path in fixed_copy.parent.iterdir()] == ["plan"]


def test_written_halves_give_what_was_measured(fixed_result: SearchResult, tmp_path: Path) -> None:
    """The search set through the written files: the payload and quality that the search found."""
    point = next(p for p in fixed_result.points if p.candidate.placement == "split" and p.candidate.codec == "brito-sq")
    plan = write_plan(fixed_result, point, tmp_path / "plan")
    measured = run_report(plan, fixed_result.problem.split.search, fixed_result.problem.metric)
    assert measured.payload_bytes == point.accuracy.payload_bytes
    assert (measured.value, measured.drop) == (point.accuracy.value, point.accuracy.drop)
    assert measured.relative_error == pytest.approx(point.accuracy.relative_error, rel=1e-4)  # fused in float32
    picture = fixed_result.problem.split.search.samples[0].picture
    assert picture is not None
    assert np.asarray(plan.tail(plan.head(picture))).shape == (1, 6)
    assert hashlib.sha256((tmp_path / "plan" / "codec.npz").read_bytes()).hexdigest() == plan.file.files["codec.npz"]
