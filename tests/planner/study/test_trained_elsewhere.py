"""Codecs trained on one machine and loaded on another: the same codec or one clear error, never a wrong answer."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from splitpoint.codecs.npz import npz_bytes, read_npz
from splitpoint.planner.flow import plan, train
from splitpoint.planner.setup.config import PlanConfig, TrainConfig
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.store.store import Store
from splitpoint.planner.study.trainings import Trainings
from splitpoint.planner.training import trainer as trainer_module
from splitpoint.planner.training.trained_files import MANIFEST, read_trained
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import parse_yaml_mapping, write_yaml
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.tests import small_plan

CODEC = "dynamic-switch"
BIAS = "weights/decoder_norms.0.bias"


@pytest.fixture(autouse=True, scope="module")
def _few_steps() -> Iterator[None]:
    """Twenty steps a training, in one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "measure_step_s", lambda *given: 0.006)
        patch.setattr(trainer_module, "measure_evaluation_s", lambda *given: 0.0)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, make_profile: Callable[[ModelGraph], ModelProfile]) -> Path:
    """A network, pictures that judge and others to train on, and the folder `saved` of the codecs trained on them."""
    home = tmp_path_factory.mktemp("elsewhere")
    small_plan.write_inputs(home)
    rng = np.random.default_rng(5)
    for number in range(80):
        folder = home / "more" / str(number % small_plan.CLASSES)
        folder.mkdir(parents=True, exist_ok=True)
        coarse = np.kron(rng.uniform(0, 255, size=(4, 4, 3)), np.ones((4, 4, 1)))
        Image.fromarray(coarse.astype(np.uint8)).save(folder / f"{number}.png")
    write_yaml(home / "fixed.yaml", make_profile(load_graph((home / "model.onnx").read_bytes(), name="model")))
    done = ahead(home, config_of(home, source=True), Store(home / "store"), save=home / "saved")
    assert [row.state for row in done.rows] == ["trained", "trained"]
    return home


def config_of(home: Path, *, source: bool = False, folder: Path | None = None) -> PlanConfig:
    config = small_plan.config_of(home, (CODEC, "fast"), evaluations=6, max_drop=0.9)
    training = TrainConfig(
        source=str(home / "more") if source else None,
        load=None if folder is None else str(folder),
        minutes=0.002,
        cuts=("r0", "r1"),
    )
    return msgspec.structs.replace(config, train=training)


def ahead(home: Path, config: PlanConfig, store: Store, *, save: Path | None = None) -> Trainings:
    return train(load_problem(config), stored_profile=home / "fixed.yaml", store=store, save=save)


@pytest.fixture
def copy(home: Path, tmp_path: Path) -> Path:
    """The folder on another machine."""
    return Path(shutil.copytree(home / "saved", tmp_path / "copied"))


def rewrite(folder: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Change the arrays of every file, with hashes that agree."""
    rows = []
    for row in read_trained(folder).codecs:
        path = folder / row.file
        arrays = read_npz(path.read_bytes(), limit_bytes=1 << 24)
        change(arrays)
        path.write_bytes(npz_bytes(arrays))
        rows.append(msgspec.structs.replace(row, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    manifest = {**parse_yaml_mapping(folder / MANIFEST), "codecs": [msgspec.to_builtins(row) for row in rows]}
    (folder / MANIFEST).write_bytes(msgspec.yaml.encode(manifest))


def test_the_manifest_says_what_was_trained(home: Path) -> None:
    found = read_trained(home / "saved")
    assert {(row.codec, row.tensor, row.rates) for row in found.codecs} == {
        (CODEC, tensor, ("90 %", "75 %", "50 %")) for tensor in ("r0", "r1")
    }
    assert all(row.spent.steps == 20 and row.spent.minutes > 0 and row.spent.losses for row in found.codecs)
    graph = load_graph((home / "model.onnx").read_bytes(), name="model")
    assert {row.model_sha256 for row in found.codecs} == {graph.sha256}
    halves = [
        array.dtype
        for row, content in zip(found.codecs, found.contents, strict=True)
        for name, array in read_npz(content, limit_bytes=1 << 24).items()
        if name.startswith("weights/") and array.ndim > 1 and row.codec == CODEC
    ]
    assert halves
    assert set(halves) == {np.dtype(np.float16)}


def test_what_was_trained_elsewhere_is_loaded_and_nothing_is_trained(
    home: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The codec is the one that was trained, but for fp16, and the plan says where it came from."""
    problem = load_problem(config_of(home, source=True))
    own = plan(problem, stored_profile=home / "fixed.yaml", store=Store(home / "store"))

    def fail(*given: object, **named: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr(trainer_module.Trainer, "train", fail)
    done = ahead(home, config_of(home, folder=copy), Store(tmp_path / "other"), save=tmp_path / "again")
    assert [row.state for row in done.rows] == ["loaded", "loaded"]
    assert all(row.spent is not None and row.spent.steps == 20 for row in done.rows)
    found = plan(load_problem(config_of(home, folder=copy)), stored_profile=home / "fixed.yaml")
    rows = read_trained(copy).codecs
    for row in rows:
        assert any(row.name in note and "trained elsewhere" in note for note in found.notes)
    mine = {candidate: fitted for candidate, fitted in found.codecs.items() if candidate.codec == CODEC}
    assert mine
    for candidate, fitted in mine.items():
        assert "loaded from" in fitted[0].notes[-1]
        theirs = own.codecs.get(candidate)
        if theirs is not None:
            assert fitted[0].encoder != theirs[0].encoder  # fp16 is what is judged
    assert [row.spent for row in read_trained(tmp_path / "again").codecs] == [row.spent for row in rows]


def test_trained_and_loaded_codecs_compute_nearly_the_same(home: Path, copy: Path, tmp_path: Path) -> None:
    def tail_inputs(config: PlanConfig, store: Store) -> dict[object, float]:
        found = plan(load_problem(config), stored_profile=home / "fixed.yaml", store=store)
        return {p.candidate: p.cost.payload_bytes for p in found.points if p.candidate.codec == CODEC}

    trained = tail_inputs(config_of(home, source=True), Store(home / "store"))
    loaded = tail_inputs(config_of(home, folder=copy), Store(tmp_path / "other"))
    both = trained.keys() & loaded.keys()
    assert both
    for candidate in both:
        assert loaded[candidate] == pytest.approx(trained[candidate], rel=0.05)


def test_a_codec_for_another_network_is_left_out_with_the_reason(home: Path, copy: Path, tmp_path: Path) -> None:
    """Without anything to train on; with it, it is trained."""
    rows = [msgspec.structs.replace(row, model_sha256="0" * 64) for row in read_trained(copy).codecs]
    manifest = {**parse_yaml_mapping(copy / MANIFEST), "codecs": [msgspec.to_builtins(row) for row in rows]}
    (copy / MANIFEST).write_bytes(msgspec.yaml.encode(manifest))
    done = ahead(home, config_of(home, folder=copy), Store(tmp_path / "store"))
    assert [row.state for row in done.rows] == ["refused", "refused"]
    assert all(
        row.reason == f"there is nothing to train on ($.train.source), and {copy} has no {CODEC} for this network"
        for row in done.rows
    )
    done = ahead(home, config_of(home, source=True, folder=copy), Store(home / "store"))
    assert [row.state for row in done.rows] == ["kept", "kept"]


def test_a_codec_for_another_place_is_left_out_with_the_places_that_there_are(
    home: Path, copy: Path, tmp_path: Path
) -> None:
    rows = [row for row in read_trained(copy).codecs if row.tensor == "r1"]
    manifest = {**parse_yaml_mapping(copy / MANIFEST), "codecs": [msgspec.to_builtins(row) for row in rows]}
    (copy / MANIFEST).write_bytes(msgspec.yaml.encode(manifest))
    done = ahead(home, config_of(home, folder=copy), Store(tmp_path / "store"))
    assert sorted(row.state for row in done.rows) == ["loaded", "refused"]
    (refused,) = (row for row in done.rows if row.state == "refused")
    assert f"has {CODEC} only after {rows[0].layer}" in str(refused.reason)


def test_a_codec_that_was_set_up_with_other_statistics_is_not_taken(home: Path, copy: Path, tmp_path: Path) -> None:
    """A file whose stored setting differs from what this network's calibration inputs give."""

    def change(arrays: dict[str, np.ndarray]) -> None:
        name = next(name for name in arrays if name.startswith("weights/") and name.endswith("encoder_norm.bias"))
        values = arrays.pop(name)
        arrays[f"settings/{name.removeprefix('weights/')}"] = np.asarray(values + 1, np.float32)

    rewrite(copy, change)
    done = ahead(home, config_of(home, folder=copy), Store(tmp_path / "store"))
    assert all(
        row.state == "refused" and "was trained for another setting: encoder_norm.bias" in str(row.reason)
        for row in done.rows
    )


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_file_is_refused_before_anything_begins(home: Path, copy: Path, damage: str) -> None:
    path = copy / read_trained(copy).codecs[-1].file
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-100] if damage == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ProfileError, match=r"no such file|No such file|another file than the manifest names") as caught:
        load_problem(config_of(home, folder=copy))
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda arrays: arrays.update({"weights/decoder_bias": np.zeros(3, np.float32)}),
            r"are float32\[3\], expected",
        ),
        (lambda arrays: arrays.update({"weights/decoder_bias": arrays["weights/decoder_bias"] * np.nan}), "not finite"),
        (lambda arrays: arrays.pop("weights/decoder_bias"), "weights of another codec: decoder_bias"),
        (lambda arrays: arrays.update({"weights/more": np.zeros(3, np.float32)}), "weights of another codec: more"),
    ],
)
def test_weights_of_another_shape_are_one_error(
    home: Path, copy: Path, tmp_path: Path, change: Callable[[dict[str, np.ndarray]], None], message: str
) -> None:
    rewrite(copy, change)
    with pytest.raises(ProfileError, match=message):
        ahead(home, config_of(home, folder=copy), Store(tmp_path / "store"))


def test_a_file_name_stays_in_its_folder(copy: Path) -> None:
    rows = [msgspec.structs.replace(row, file=f"../{row.file}") for row in read_trained(copy).codecs]
    manifest = {**parse_yaml_mapping(copy / MANIFEST), "codecs": [msgspec.to_builtins(row) for row in rows]}
    (copy / MANIFEST).write_bytes(msgspec.yaml.encode(manifest))
    with pytest.raises(ProfileError, match="no file name of this folder"):
        read_trained(copy)


def test_nothing_is_replaced_and_an_empty_request_is_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="there is something already"):
        ahead(home, config_of(home, source=True), Store(home / "store"), save=home / "saved")
    with pytest.raises(ProfileError, match="nothing to train on and nothing to load"):
        load_problem(config_of(home))
    with pytest.raises(ProfileError, match=r"there is no trained\.yaml"):
        load_problem(config_of(home, folder=tmp_path))
