"""The configuration file: quantities with units, and a bad one is an error with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from splitpoint.planner.setup.checks import check_config
from splitpoint.planner.setup.config import DataConfig, PlanConfig, PruneConfig, override, read_config
from splitpoint.profiles.errors import ProfileError

Run = Callable[..., tuple[int, str, str]]


def read(folder: Path, line: str) -> PlanConfig:
    (folder / "plan.yaml").write_text(f"model: net.onnx\ndata:\n  source: pictures\n{line}\n")
    return read_config(folder / "plan.yaml")


@pytest.mark.parametrize(
    ("line", "n_bytes"),
    [("", None), ("cache: null", None), ("cache: 1 GB", 10**9), ("cache: 1 MiB", 2**20), ("cache: 0", 0)],
)
def test_the_memory_for_caches(tmp_path: Path, line: str, n_bytes: int | None) -> None:
    assert read(tmp_path, line).cache == n_bytes


@pytest.mark.parametrize("value", ["lots", "1 Gbit", "-1", "-1 GB", "0.5", "true", ".inf", "[1 GB]"])
def test_what_is_no_memory_for_caches_is_an_error_with_its_place(tmp_path: Path, value: str) -> None:
    with pytest.raises(ProfileError, match=r"plan\.yaml: expected .*`\$\.cache`"):
        read(tmp_path, f"cache: {value}")


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("threads: 100000", "$.threads"),
        ("threads: 1025", "$.threads"),
        ("threads: 0", "$.threads"),
        ("search: {evaluations: 1000001}", "$.search.evaluations"),
        ("search: {seed: 4294967296}", "$.search.seed"),
        ("search: {max_cuts: 1000001}", "$.search.max_cuts"),
        ("sizes: [16385]", "$.sizes[0]"),
        (f"sizes: {[8] * 101}", "$.sizes"),
        (f"shapes: {[1] * 17}", "$.shapes"),
        ("shapes: {x: [1, 268435457]}", "$.shapes[...][1]"),
        ("precisions: [int8, int8, int8, int8]", "$.precisions"),
        (f"prune: {{ratios: {[0.5] * 101}}}", "$.prune.ratios"),
        ("prune: {method: gradients}", "$.prune.method"),
        ("prune: {ratio_of: layers}", "$.prune.ratio_of"),
        ("prune: {ratios: [1]}", "$.prune.ratios[0]"),
        (f"objectives: {['latency'] * 10001}", "$.objectives"),
        ("input: {size: 20000}", "$.input"),
        ("input: {size: [16384, 16384]}", "$.input"),
        ("input: {size: 224, resize: 1000000000}", "$.input"),
        ("cache: 5e18 B", "$.cache"),
        ("cache: 1e-999999999 B", "$.cache"),
    ],
)
def test_counts_have_bounds(tmp_path: Path, line: str, place: str) -> None:
    with pytest.raises(ProfileError) as caught:
        read(tmp_path, line)
    assert caught.value.message.endswith(f"`{place}`")


def test_counts_at_their_bounds_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, "threads: 1024\nsizes: [16384]\nsearch: {seed: 4294967295}").threads == 1024


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("shapes: [100000, 100000]", "$.shapes"),
        ("shapes: {ids: [1, 2], x: [100000, 100000]}", "$.shapes.x"),
        ("inputs: {sr: [1, [2]]}", "$.inputs.sr"),
        ("inputs: {sr: fast}", "$.inputs.sr"),
        (f"inputs: {{sr: {'9' * 3999}}}", "$.inputs.sr"),
        ("inputs: {sr: {a: 1}}", "$.inputs.sr"),
    ],
)
def test_tensors_that_cannot_be_are_refused_before_the_model_is_loaded(tmp_path: Path, line: str, place: str) -> None:
    (tmp_path / "net.onnx").touch()
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ProfileError) as caught:
        check_config(read(tmp_path, line))
    assert caught.value.at == place
    check_config(read(tmp_path, "inputs: {sr: 16000, scale: [[1, 2.5], [0, 3]], on: true}"))


def test_an_onnx_file_cannot_be_pruned(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    (tmp_path / "pictures").mkdir()
    with pytest.raises(
        ProfileError, match=r"only a torch module can be pruned, and .*net\.onnx is an ONNX file"
    ) as caught:
        check_config(read(tmp_path, "prune: {}"))
    assert caught.value.at == "$.prune"


def test_multiply_adds_are_removed_by_gradients_only(tmp_path: Path) -> None:
    (tmp_path / "net.py").touch()
    (tmp_path / "pictures").mkdir()
    given = override(read(tmp_path, "prune: {ratio_of: macs, method: taylor}"), model=f"{tmp_path / 'net.py'}:make")
    check_config(given)
    with pytest.raises(ProfileError, match="the same share of each layer's filters") as caught:
        check_config(override(given, prune=PruneConfig(ratio_of="macs")))
    assert (caught.value.at, caught.value.fix) == ("$.prune.ratio_of", "method: taylor, or ratio_of: filters")


@pytest.mark.parametrize("lacking", ["method", "train"])
def test_a_head_is_trained_alone_only_where_pruned_networks_are_trained(tmp_path: Path, lacking: str) -> None:
    (tmp_path / "net.py").touch()
    (tmp_path / "pictures").mkdir()
    text = "prune: {trained: head, method: taylor}\ntrain: {source: pictures}"
    check_config(override(read(tmp_path, text), model=f"{tmp_path / 'net.py'}:make"))
    cut = {"method": ", method: taylor", "train": "\ntrain: {source: pictures}"}[lacking]
    with pytest.raises(ProfileError, match="no pruned network is trained") as caught:
        check_config(override(read(tmp_path, text.replace(cut, "")), model=f"{tmp_path / 'net.py'}:make"))
    assert caught.value.at == "$.prune.trained"


@pytest.mark.parametrize(
    ("name", "link", "message"),
    [
        ("kltq-ctx", "awgn-20db", "no network is trained end to end with 'kltq-ctx'"),  # it is not trained itself
        ("choi-baf", "awgn-20db", "no network is trained end to end with 'choi-baf'"),  # layers of the network stay
        ("nothing", "awgn-20db", "no network is trained end to end with 'nothing'"),
        ("jankowski-jscc", "wifi-5", "sends channel symbols, and wifi-5 is known by its rate"),
    ],
)
def test_a_network_is_trained_with_codecs_that_are_trained_for_its_answers(
    tmp_path: Path, name: str, link: str, message: str
) -> None:
    (tmp_path / "net.onnx").touch()
    (tmp_path / "pictures").mkdir()

    def config(names: str, link: str, more: str = "") -> PlanConfig:
        return read(tmp_path, f"train: {{source: pictures, end_to_end: [{names}]}}\nlink: {link}\n{more}")

    check_config(config("jankowski-jscc", "awgn-20db"))
    check_config(config("dynamic-switch", "wifi-5"))
    with pytest.raises(ProfileError, match=message) as caught:
        check_config(config(name, link))
    assert caught.value.at == "$.train.end_to_end[0]"
    with pytest.raises(ProfileError, match="no network is trained end to end with 'jankowski-jscc'"):
        check_config(config("jankowski-jscc", "awgn-20db", "search: {codecs: [dynamic-switch]}"))


def test_many_groups_are_compared_in_one_pass(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").touch()
    (tmp_path / "pictures").mkdir()
    lists = [[f"g{i}" for i in range(start, start + 9000)] for start in (0, 9000, 17_999)]
    data = DataConfig(source=str(tmp_path), calibration=tuple(lists[0]), search=tuple(lists[1]), report=tuple(lists[2]))
    with pytest.raises(ProfileError, match="group 'g17999' is listed twice"):
        check_config(override(read(tmp_path, ""), data=data))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--threads", "100000"], "--threads"),
        (["--size", "100000x100000"], "--size: expected at most 268,435,456 elements, got 100000x100000"),
        (["--size", "9" * 5000], "--size"),
        (["--constant", "a=" + "[" * 100_000], "--constant"),
    ],
)
def test_flags_have_the_same_bounds(run: Run, tmp_path: Path, flags: list[str], message: str) -> None:
    code, _, error = run("plan", tmp_path / "net.onnx", "--data", tmp_path, *flags)
    assert code == 2
    assert message in error.replace("\n", " ")
