"""Samples, their three disjoint sets, and the loaders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from splitpoint.planner.samples.dataset import Dataset, NetworkInputs, Sample, check_labels, split_three
from splitpoint.planner.samples.readers import load_data, load_factory
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec

SPEC = InputSpec(size=4)
TENSOR = InputSpec(kind="tensor")


def tensors(groups: Sequence[str], labels: Sequence[int] | None = None) -> Dataset:
    samples = tuple(
        Sample(
            name=f"s{i}",
            group=g,
            tensor=np.full((1, 2), i, np.float32),
            label=None if labels is None else labels[i],
        )
        for i, g in enumerate(groups)
    )
    return Dataset(spec=TENSOR, samples=samples, source="made")


def picture(path: Path, level: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (level, level, level)).save(path)


def values(dataset: Dataset) -> set[float]:
    return {float(x[0, 0]) for x in NetworkInputs(dataset)}


@given(sizes=st.lists(st.integers(1, 6), min_size=24, max_size=60), seed=st.integers(0, 5), classes=st.integers(1, 4))
def test_sets_share_no_group_lose_nothing_and_repeat(sizes: list[int], seed: int, classes: int) -> None:
    names = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    data = tensors(names, [int(n[1:]) % classes for n in names])
    split, repeated = split_three(data, seed=seed), split_three(data, seed=seed)
    parts = (split.calibration, split.search, split.report)
    groups = [{s.group for s in part.samples} for part in parts]
    assert len(set.union(*groups)) == sum(len(g) for g in groups)
    assert sum(len(part) for part in parts) == len(data)
    assert [p.sha256() for p in parts] == [p.sha256() for p in (repeated.calibration, repeated.search, repeated.report)]
    for part, share in zip(parts, (0.2, 0.4, 0.4), strict=True):
        assert abs(len(part) - share * len(data)) <= 2 * max(sizes)


def test_each_class_is_divided_in_the_same_proportions() -> None:
    data = tensors([str(i) for i in range(500)], [i % 10 for i in range(500)])
    split = split_three(data, seed=3)
    for part, expected in ((split.calibration, 10), (split.search, 20), (split.report, 20)):
        labels = part.labels
        assert labels is not None
        assert np.abs(np.bincount(labels, minlength=10) - expected).max() <= 1


def test_one_input_a_class_still_reaches_every_set() -> None:
    split = split_three(tensors([str(i) for i in range(100)], list(range(100))))
    assert (len(split.calibration), len(split.search), len(split.report)) == (20, 40, 40)


def test_another_seed_gives_other_sets() -> None:
    data = tensors([str(i) for i in range(60)])
    assert values(split_three(data, seed=0).report) != values(split_three(data, seed=1).report)


@given(n=st.integers(12, 60), data=st.data())
def test_counts_are_kept_exactly(n: int, data: st.DataObject) -> None:
    counts = tuple(data.draw(st.integers(4, n // 3)) for _ in range(3))
    split = split_three(tensors([str(i) for i in range(n)]), counts=(counts[0], counts[1], counts[2]))
    assert tuple(p.group_count for p in (split.calibration, split.search, split.report)) == counts


def test_named_assignment_and_its_errors() -> None:
    data = tensors([g for g in "abc" for _ in range(5)])
    split = split_three(data, assign={"a": "report", "b": "search", "c": "calibration"})
    assert {s.group for s in split.report.samples} == {"a"}
    with pytest.raises(ProfileError, match=r"groups in no set: \['c'\]"):
        split_three(data, assign={"a": "report", "b": "search"})
    with pytest.raises(ProfileError, match=r"unknown groups \['d'\]"):
        split_three(data, assign={"a": "report", "b": "search", "c": "search", "d": "report"})
    with pytest.raises(ProfileError, match="calibration set would have 0 inputs"):
        split_three(data, assign={"a": "report", "b": "search", "c": "search"})


def test_too_few_groups_or_inputs_are_refused() -> None:
    with pytest.raises(ProfileError, match="2 groups cannot make three"):
        split_three(tensors(["a"] * 20 + ["b"] * 20))
    with pytest.raises(ProfileError, match=r"would have \d inputs, expected at least 4"):
        split_three(tensors([str(i) for i in range(9)]))
    assert split_three(tensors([g for g in "abc" for _ in range(4)])).report.group_count == 1


def test_hash_follows_values_labels_and_groups_not_names() -> None:
    base = tensors(["a", "b"], [0, 1])
    assert base.sha256() == Dataset(spec=TENSOR, samples=base.samples, source="elsewhere").sha256()
    assert base.sha256() != tensors(["a", "b"], [1, 1]).sha256()
    assert base.sha256() != tensors(["a", "a"], [0, 1]).sha256()
    assert base.sha256() != base.select([1, 0]).sha256()


def test_class_folders_are_labels_in_sorted_order(tmp_path: Path) -> None:
    for i, name in enumerate(["dog", "cat", "cat"]):
        picture(tmp_path / name / f"{i}.png", i)
    (tmp_path / "README.md").write_text("about")
    data = load_data(str(tmp_path), SPEC)
    assert data.classes == ("cat", "dog")
    assert [(s.label, s.picture[0, 0, 0]) for s in data.samples if s.picture is not None] == [(0, 1), (0, 2), (1, 0)]
    check_labels(data, 2)
    with pytest.raises(ProfileError, match=r"1000 outputs, the data 2 classes[\s\S]*classes.txt"):
        check_labels(data, 1000)
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    assert [s.label for s in load_data(str(tmp_path), SPEC).samples] == [1, 1, 0]


def test_folders_named_by_number_are_output_indices(tmp_path: Path) -> None:
    for name in ("10", "9"):
        picture(tmp_path / name / "a.png")
    data = load_data(str(tmp_path), SPEC)
    assert data.labels is not None
    assert data.labels.tolist() == [10, 9]
    with pytest.raises(ProfileError, match=r"label 10 but 10 outputs[\s\S]*10/a.png"):
        check_labels(data, 10)


def test_labels_csv_gives_labels_and_groups(tmp_path: Path) -> None:
    for i in range(3):
        picture(tmp_path / f"{i}.png", i)
    (tmp_path / "labels.csv").write_text("file,label,group\n0.png,b,x\n2.png,a,x\n1.png,a,y\n")
    data = load_data(str(tmp_path), SPEC)
    assert [(s.label, s.group) for s in data.samples] == [(1, "x"), (0, "x"), (0, "y")]
    assert data.group_count == 2
    for text, what in [
        ("file\n0.png\n", "columns"),
        ("file,label\n0.png\n", "row"),
        ("file,label\n0.png,a\n0.png,b\n", "twice"),
    ]:
        (tmp_path / "labels.csv").write_text(text)
        with pytest.raises(ProfileError, match=what) as caught:
            load_data(str(tmp_path), SPEC)
        assert caught.value.at == str(tmp_path / "labels.csv")


def test_a_flat_folder_has_no_labels_and_limit_is_even_by_class(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(10):
            picture(tmp_path / "classed" / name / f"{i}.png")
            picture(tmp_path / "flat" / f"{name}{i}.png")
    assert load_data(str(tmp_path / "flat"), SPEC).labels is None
    limited = load_data("classed", SPEC, base=tmp_path, limit=6, seed=1)
    assert limited.labels is not None
    assert np.bincount(limited.labels).tolist() == [3, 3]


def test_folder_faults_name_their_place(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no such folder"):
        load_data(str(tmp_path / "none"), SPEC)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ProfileError, match="no pictures"):
        load_data(str(tmp_path / "empty"), SPEC)
    picture(tmp_path / "mixed" / "a.png")
    picture(tmp_path / "mixed" / "class" / "b.png")
    with pytest.raises(ProfileError, match="beside class folders"):
        load_data(str(tmp_path / "mixed"), SPEC)
    picture(tmp_path / "hole" / "full" / "b.png")
    (tmp_path / "hole" / "bare").mkdir()
    with pytest.raises(ProfileError, match=r"no pictures[\s\S]*bare"):
        load_data(str(tmp_path / "hole"), SPEC)
    picture(tmp_path / "foreign" / "a.png")
    (tmp_path / "foreign" / "b.heic").write_bytes(b"x")
    with pytest.raises(ProfileError, match="heic"):
        load_data(str(tmp_path / "foreign"), SPEC)


def test_npz_of_tensors_and_of_pictures(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float64).reshape(6, 2)
    np.savez(tmp_path / "t.npz", x=x, y=np.arange(6), group=np.array(list("aabbcc")))
    data = load_data("t.npz", TENSOR, base=tmp_path)
    assert [x.shape for x in NetworkInputs(data)] == [(1, 2)] * 6
    assert data.group_count == 3
    np.savez(tmp_path / "p.npz", x=np.full((3, 4, 4, 3), 7, np.uint8))
    assert NetworkInputs(load_data("p.npz", SPEC, base=tmp_path))[0].shape == (1, 3, 4, 4)
    np.savez(tmp_path / "n.npz", x=x, y=np.arange(6) / 2)  # numbers are no classes
    numbers = load_data("n.npz", TENSOR, base=tmp_path)
    assert (numbers.labels, numbers.labelled) == (None, True)
    assert [sample.truth.tolist() for sample in numbers.samples if sample.truth is not None] == [
        [i / 2] for i in range(6)
    ]
    faults = {
        "expected arrays": {"z": x},
        "y has shape": {"x": x, "y": np.arange(5)},
        "y must be numbers": {"x": x, "y": np.array(list("abcdef"))},
        "NaN": {"x": np.full((6, 2), np.nan)},
        "cannot be read": {"x": np.array([None, 1], dtype=object)},
    }
    for what, arrays in faults.items():
        np.savez(tmp_path / "bad.npz", **arrays)  # type: ignore[arg-type]  # numpy's stub wants allow_pickle first
        with pytest.raises(ProfileError, match=what):
            load_data("bad.npz", TENSOR, base=tmp_path)
    (tmp_path / "bad.npz").write_bytes(b"PK not a zip")
    with pytest.raises(ProfileError, match=r"bad.npz"):
        load_data("bad.npz", TENSOR, base=tmp_path)


def test_a_damaged_npz_is_an_error_or_the_same_data(tmp_path: Path) -> None:
    path, labels = tmp_path / "t.npz", [0, 1, 2, 3, 4, 5]
    x = np.random.default_rng(0).integers(0, 9, (6, 3)).astype(np.float32)
    np.savez_compressed(path, x=x, y=np.array(labels))
    whole = path.read_bytes()
    refused = 0
    for at in range(len(whole)):
        for value in (0, 255, whole[at] ^ 1, whole[at] ^ 128):
            path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                data = load_data("t.npz", TENSOR, base=tmp_path)
            except ProfileError:
                refused += 1
                continue
            np.testing.assert_array_equal(np.concatenate([np.asarray(s.tensor) for s in data.samples]), x)
            # A byte of the archive's directory can hide an array; then these are data without labels, never others.
            assert [sample.label for sample in data.samples] in (labels, [None] * len(labels))
    assert refused > len(whole)


def test_a_single_array_under_the_name_of_an_npz_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, np.zeros((6, 3), np.float32))
    with pytest.raises(ProfileError, match="not a zip file"):
        load_data("one.npz", TENSOR, base=tmp_path)


def test_factories_by_file_and_their_faults(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "from splitpoint.planner.samples.dataset import Sample\n"
        "def samples():\n"
        "    return [Sample(name='a', group='a', tensor=np.zeros((1, 2), np.float32))]\n"
        "def wrong():\n"
        "    return 3\n"
    )
    assert len(load_data("mine.py:samples", TENSOR, base=tmp_path)) == 1
    for reference, what in [
        ("mine.py:wrong", "sequence of Samples, got int"),
        ("mine.py:other", "has no 'other'"),
        ("gone.py:f", "no such file"),
        ("not.a.module:f", "cannot import 'not.a.module'"),
    ]:
        with pytest.raises(ProfileError, match=what):
            load_factory(reference, TENSOR, base=tmp_path)
    with pytest.raises(ProfileError, match="need an input: block"):
        load_factory("mine.py:samples", None, base=tmp_path)


def test_another_input_block_is_named_by_what_differs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "from splitpoint.planner.samples.dataset import Dataset, Sample\n"
        "from splitpoint.profiles.network.inputs import InputSpec\n"
        "def data():\n"
        "    spec = InputSpec(size=8, resize='exact', color='gray')\n"
        "    return Dataset(spec=spec, samples=(Sample(name='a', group='a', picture=np.zeros((8, 8, 1), np.uint8)),))\n"
    )
    wanted = InputSpec(size=8, color="gray", scale=255)
    with pytest.raises(ProfileError) as caught:
        load_factory("mine.py:data", wanted, base=tmp_path)
    given = InputSpec(size=8, resize="exact", color="gray")
    assert caught.value.message == (
        "its input block is not the configuration's: resize is 'exact', expected 'cover'"
        f"; scale is {given.scale!r}, expected {wanted.scale!r}"
    )


def test_samples_that_do_not_fit_are_named() -> None:
    with pytest.raises(ProfileError, match=r"either a picture or a tensor[\s\S]*both"):
        Sample(name="both", group="g", picture=np.zeros((4, 4, 3), np.uint8), tensor=np.zeros((1, 2)))
    small = Sample(name="small", group="g", picture=np.zeros((3, 4, 3), np.uint8))
    with pytest.raises(ProfileError, match=r"expected a picture \(4, 4, 3\)[\s\S]*small"):
        Dataset(spec=SPEC, samples=(small,))
    with pytest.raises(ProfileError, match="no inputs"):
        Dataset(spec=SPEC, samples=())
    bare = tensors(["a", "b"], [0, 1]).samples[0], tensors(["a"]).samples[0]
    with pytest.raises(ProfileError, match="some have none"):
        Dataset(spec=TENSOR, samples=bare)
