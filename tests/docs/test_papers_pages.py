"""The papers' pages say what the JSON of the measurements says, and their scripts run on public functions alone."""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import msgspec
import numpy as np
import pytest

from splitpoint.examples.papers import (
    assine,
    brito,
    choi,
    common,
    compare,
    figure,
    jankowski,
    kumaraswamy,
    pages,
    planned,
    widths,
)

FOLDER = Path(common.__file__).parent
ROOT = FOLDER.parents[1]
SCRIPTS = {"brito": brito, "assine": assine, "kumaraswamy": kumaraswamy, "jankowski": jankowski, "choi": choi}
SCRIPTS |= {"compare": compare}


@pytest.fixture(scope="module")
def parts() -> dict[str, dict[str, str]]:
    return pages.parts(pages.results())


@pytest.mark.parametrize("name", [*SCRIPTS, "README"])
def test_a_page_holds_the_tables_of_its_json(name: str, parts: dict[str, dict[str, str]]) -> None:
    page = pages.place_of(name).read_text(encoding="utf-8")
    assert pages.filled(page, parts[name]) == page, "python -m splitpoint.examples.papers.pages"


@pytest.mark.parametrize(("name", "script"), SCRIPTS.items())
def test_figures_are_those_of_their_json(name: str, script: ModuleType) -> None:
    drawn = script.figures(common.stored(name))
    assert drawn
    for each, svg in drawn.items():
        assert (common.RESULTS / f"{name}-{each}.svg").read_text(encoding="utf-8") == svg
    page = (ROOT / "docs" / "papers" / f"{name}.md").read_text(encoding="utf-8")
    assert all(f"{name}-{each}.svg" in page for each in drawn)


def test_a_script_measures_after_its_layers_alone() -> None:
    def row(placement: str, cut: str, codec: str) -> SimpleNamespace:
        figures = dict.fromkeys(("value", "drop", "drop_low", "drop_high", "payload_bytes"), 0.25)
        more = {"variant": "given", "rate": "q1", "channel_uses": None, "head_share": None, "n": 9}
        return SimpleNamespace(placement=placement, cut=cut, codec=codec, **figures, **more)

    measured = [row("split", "after 3", "a"), row("split", "after 9", "a"), row("server", "", "png")]
    measured += [row("server", "", "-"), row("device", "", "-")]
    found = planned.rows_after(["conv"], measured, {"after 3": "conv", "after 9": "concat"})
    assert [(each["layer"], each["codec"], each["lost"]) for each in found] == [
        ("conv", "a", 25.0),
        (planned.INPUT, "png", 25.0),
    ]


def test_a_page_without_a_part_is_refused() -> None:
    with pytest.raises(ValueError, match="no part 'b'"):
        pages.filled("<!-- begin: a -->\n<!-- end -->\n", {"a": "x", "b": "y"})
    with pytest.raises(ValueError, match="has no table"):
        pages.filled("<!-- begin: a -->\n<!-- end -->\n<!-- begin: b -->\n<!-- end -->\n", {"a": "x"})


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_scripts_use_public_functions_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    ours = {module for module in modules if module.split(".")[0] == "splitpoint"}
    assert {m for m in ours if m != "splitpoint" and not m.startswith("splitpoint.examples.papers")} == set()
    names = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "splitpoint"}
    import splitpoint

    assert names <= set(splitpoint.__all__)


def test_noise_of_a_uniform_quantizer_and_the_entropy_of_its_levels() -> None:
    x = np.random.default_rng(0).uniform(-1, 1, 200_000)
    steps = 2.0 ** np.arange(-2, -6, -1)
    levels = [brito.sqnr_db(x, np.round(x / step) * step) for step in steps]
    np.testing.assert_allclose(np.diff(levels), 6.02, atol=0.1)  # 6.02 dB a bit; 200,000 samples
    np.testing.assert_allclose(levels[0], 10 * np.log10(4 / 0.25**2), atol=0.1)  # 1/3 over step^2 / 12
    counts = brito.levels(np.array([0.0, 0.5, 0.5, 2.0]))
    assert counts.tolist() == [1, 2, 0, 0, 1]  # levels between that were not used
    assert brito.entropy_bits(counts) == pytest.approx(1.5)
    assert brito.histogram(counts, bars=1) == [1.0]
    assert sum(brito.histogram(np.arange(300), bars=7)) == pytest.approx(1, abs=1e-5)


def test_points_lost_are_paired_and_never_certain() -> None:
    before, after = np.ones(100, bool), np.ones(100, bool)
    assert common.lost(before, after)["lost"] == 0
    assert 1 < common.lost(before, after)["plus_minus"] < 3  # none of 100 changed: up to about 3 of 100 may
    after[:10] = False
    assert common.lost(before, after)["lost"] == 10
    swapped = np.arange(100) < 50
    narrow, wide = common.lost(before, after), common.lost(swapped, ~swapped)
    assert wide["lost"] == 0
    assert wide["plus_minus"] > 2 * narrow["plus_minus"]  # as right as before, on other pictures


def test_a_figure_has_a_mark_for_every_point() -> None:
    drawn = figure.curves({"a": [(1, 2), (10, 3)], "b <": [(100, 4)]}, title="t", x="x", y="y", logarithmic=True)
    assert len(re.findall(r'<circle[^>]* r="3"', drawn)) == 3
    assert "b &lt;" in drawn
    across = [float(text) for text in re.findall(r'<circle cx="([\d.]+)"[^>]* r="3"', drawn)]
    assert across[1] - across[0] == pytest.approx(across[2] - across[1], abs=0.2)  # tenfold each


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_quick_run(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error::UserWarning", "-m", f"splitpoint.examples.papers.{name}"]
    done = subprocess.run(
        [*command, "--quick", "--out", str(tmp_path), "--threads", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert found["command"] == f"python -m splitpoint.examples.papers.{name} --quick"
    assert all(text.startswith("|") for text in SCRIPTS[name].tables(found).values())
    figures = {path.name.removeprefix(f"{name}-").removesuffix(".svg") for path in tmp_path.glob("*.svg")}
    assert figures == set(SCRIPTS[name].figures(found))
    own = [row for row in found["rows"] if row["codec"] == SCRIPTS[name].CODEC] if "trained" in found else found
    assert min(_lost(own)) < 2.5  # the best is about as good as the network; 2.5 points: nine of 359 pictures


@pytest.mark.parametrize("folder", sorted(path.name for path in common.ASSETS.iterdir()))
def test_what_was_trained_is_that_of_its_manifest(folder: str) -> None:
    """Every file is named, has its hash, and all together are small."""
    manifest = msgspec.yaml.decode((common.ASSETS / folder / "trained.yaml").read_bytes())
    rows = manifest["networks" if folder == "assine" else "codecs"]
    files = {path.name: path.read_bytes() for path in (common.ASSETS / folder).glob("*.npz")}
    assert {row["file"]: row["sha256"] for row in rows} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }
    assert all(row["spent"]["steps"] > 50 for row in rows)
    assert sum(path.stat().st_size for path in common.ASSETS.rglob("*")) < 10_000_000
    name, _, quick = folder.partition("-")
    found = common.stored(name)
    if bool(quick) == ("--quick" in found["command"]):  # the pages' run is of these files
        assert {row["sha256"] for row in found["trained"]} == {row["sha256"] for row in rows}


def test_a_network_with_another_hash_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "assine"
    shutil.copytree(widths.FOLDER, folder)
    first, *others = widths.manifest(folder)
    content = (folder / first["file"]).read_bytes()
    (folder / first["file"]).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=rf"{first['file']}: SHA-256 is .*expected {first['sha256']}.* --train"):
        widths.of_cifar100(first["file"], folder)
    for row in others:
        assert widths.of_cifar100(row["file"], folder) is not None


def test_networks_of_cifar100_are_of_their_widths_and_judged_as_loaded() -> None:
    rows, judged = widths.manifest(), {each["variant"]: each for each in common.stored("assine")["variants"]}
    assert [row["width"] for row in rows] == list(widths.WIDTHS[: len(rows)])  # narrowest first
    assert len(rows) > 1
    for row in rows:
        state = widths.of_cifar100(row["file"]).state_dict()
        weight = state["dense.weight"].numpy()
        assert weight.shape == (100, round(256 * row["width"]))
        np.testing.assert_array_equal(weight, weight.astype(np.float16))  # as stored
        variant = judged[f"CIFAR-100, width {row['width']:g}"]
        assert variant["top1"] == pytest.approx(row["top1"], abs=0.1)  # ONNX Runtime and torch: 5 of 5,000 pictures


def test_pictures_of_a_training_are_moved_and_mirrored_whole() -> None:
    pictures = np.zeros((400, 32, 32, 3), np.uint8)
    pictures[:, 10, 12] = 1, 2, 3
    found = widths.augmented(pictures, np.random.default_rng(0))
    assert found.shape == pictures.shape
    assert (found.reshape(400, -1, 3).max(axis=1) == (1, 2, 3)).all()
    _, down, across = np.nonzero(found[..., 0])
    assert set(down) == set(range(6, 15))
    assert set(across) == set(range(8, 17)) | set(range(15, 24))  # column 12, or 19 of the mirror image
    assert (found.astype(int).sum(axis=(1, 2, 3)) == 6).all()


def test_a_training_that_was_stopped_goes_on_to_the_same_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (256, 32, 32, 3), dtype=np.uint8)
    monkeypatch.setattr(common, "cifar100", lambda data, part: (pictures, np.arange(256) % 100))
    monkeypatch.setattr(widths, "EPOCHS", 2)
    monkeypatch.setattr(widths, "WIDTHS", (0.25, 0.5))
    widths.train(tmp_path, "at once", tmp_path / "whole")
    say = common.say

    def stop(text: str) -> None:
        say(text)
        if text.startswith("width 0.5, epoch 2"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(common, "say", stop)
        with pytest.raises(KeyboardInterrupt):
            widths.train(tmp_path, "stopped", tmp_path / "parts")
    widths.train(tmp_path, "went on", tmp_path / "parts")
    whole, parts = (widths.manifest(tmp_path / name) for name in ("whole", "parts"))
    for once, later in zip(whole, parts, strict=True):
        state = widths.of_cifar100(later["file"], tmp_path / "parts").state_dict()
        for name, value in widths.of_cifar100(once["file"], tmp_path / "whole").state_dict().items():
            np.testing.assert_array_equal(state[name].numpy(), value.numpy())
    assert [row["how"] for row in parts] == ["stopped", "went on"]
    assert sorted(path.suffix for path in (tmp_path / "parts").iterdir()) == [".npz", ".npz", ".yaml"]


def test_a_run_of_the_widths_alone_keeps_the_rest_and_its_command(tmp_path: Path) -> None:
    given = argparse.Namespace(out=tmp_path)
    with pytest.raises(SystemExit, match="no run with --data"):
        assine.kept(given)
    whole = {**common.stored("assine"), "command": "whole", "date": "2026-01-02"}
    whole.pop("kept", None)
    for _ in range(2):  # of the whole run, and of one that kept it
        (tmp_path / "assine.json").write_text(json.dumps(whole), encoding="utf-8")
        found = assine.kept(given)
        assert (found["kept"]["command"], found["kept"]["date"]) == ("whole", "2026-01-02")
        assert [each["variant"] for each in found["variants"]] == [f"input {side}" for side in assine.SIZES]
        assert found["compressed"] == whole["compressed"]
        whole |= {"kept": found["kept"], "command": "later"}


def _lost(tree: object) -> list[float]:
    """Every figure called "lost"."""
    if isinstance(tree, dict):
        own = [tree["lost"]] if "lost" in tree else []
        return own + [value for child in tree.values() for value in _lost(child)]
    return [value for child in tree for value in _lost(child)] if isinstance(tree, list) else []
