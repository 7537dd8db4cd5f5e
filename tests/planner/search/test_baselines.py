"""What is always measured: which pictures, where they stop, and which of them the rows show."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.planner.measuring.pricing import UNCOMPRESSED
from splitpoint.planner.search import baselines
from splitpoint.planner.search.baselines import measure_baselines, measure_others, picture_bit
from splitpoint.planner.search.table import PROBE_INPUTS
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.model import Tensor

Make = Callable[..., Any]
RATES = {"png": 1, "jpeg": 4, "jpeg-420": 2, "jpeg-task": 2, "webp": 3, "other": 2}


@pytest.fixture(autouse=True)
def pictures(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Picture codecs of a few rates; "other" is one that is not a baseline, "jpeg-task" is not built in."""
    made = {
        name: types.SimpleNamespace(rates=tuple(range(count)), refuses=lambda size: None, weighted=name == "jpeg-task")
        for name, count in RATES.items()
    }
    made["jpeg-task"].refuses = lambda size: "not built in"
    monkeypatch.setattr(baselines, "PICTURES", made)
    return made


class FakeMeasurer:
    """A network with cuts a, b, c; of a picture at rate r, `drops[codec][r]` is lost and 100 (r + 1) bytes are sent."""

    def __init__(
        self,
        make_point: Make,
        *,
        name: str = "given",
        variant: str = "given",
        kind: str = "image",
        channels: int = 3,
        drops: Mapping[str, Sequence[float]] | None = None,
        uncompressed: Mapping[str, float] | None = None,
        unfit: str = "",  # codec, or "codec at cut"
    ) -> None:
        self._make, self._drops, self._unfit = make_point, drops or {}, unfit
        self._seconds = uncompressed or {"a": 0.03, "b": 0.01, "c": 0.02}
        cuts = types.SimpleNamespace(cuts=[types.SimpleNamespace(name=cut, tensors=(cut,)) for cut in self._seconds])
        spec = types.SimpleNamespace(kind=kind, channels=channels, height_width=(8, 8))
        self.network = types.SimpleNamespace(
            name=name, variant=types.SimpleNamespace(spec=spec, kind=variant), cuts=cuts, cuttable=[]
        )
        self.pricer = types.SimpleNamespace(uncompressed=lambda cut: make_point(latency=self._seconds[cut.name]).cost)
        self.asked: list[Candidate] = []

    def evaluate(self, candidate: Candidate) -> Evaluated | None:
        self.asked.append(candidate)
        if self._unfit in (candidate.codec, f"{candidate.codec} at {candidate.cut}"):
            return None
        drop = self._drops[candidate.codec][candidate.rate] if candidate.codec in self._drops else 0.0
        # Finer pictures are larger and slower; PNG is the largest.
        payload = 5000.0 if candidate.codec == "png" else 100.0 * (candidate.rate + 1)
        point: Evaluated = self._make(
            variant=candidate.variant,
            placement=candidate.placement,
            cut=candidate.cut,
            codec=candidate.codec,
            rate=candidate.rate,
            payload=payload,
            latency=payload / 1e5,
            drop=drop,
        )
        return point


def measured(measurer: Any, needs: Any, prefer: str = "latency") -> tuple[dict[str, Candidate], list[Evaluated], int]:
    """Rows by label, the points, and how many steps were made."""
    steps: list[str] = []
    rows, points = measure_baselines(measurer, needs, steps.append, prefer=prefer)
    assert len({label for label, _ in rows}) == len(rows)
    assert all(point in points for _, point in rows)
    return {label: point.candidate for label, point in rows}, points, len(steps)


def sent(points: Sequence[Evaluated]) -> list[tuple[str, int]]:
    return [(p.candidate.codec, p.candidate.rate) for p in points if p.candidate.placement == "server"]


ALL = [("png", 0), *[("jpeg", r) for r in (3, 2, 1, 0)], *[("jpeg-420", r) for r in (1, 0)]]
ALL += [("webp", r) for r in (2, 1, 0)]


def test_the_rows_and_their_order(make_point: Make, make_needs: Make) -> None:
    measurer = FakeMeasurer(make_point)
    rows, points, steps = measured(measurer, make_needs())
    assert list(rows) == ["all on device", "send PNG", "send JPEG, WebP", "uncompressed split"]
    assert [rows["all on device"].placement, rows["send PNG"].codec] == ["device", "png"]
    assert measurer.asked == [point.candidate for point in points]
    assert (points[0].candidate, points[-1].candidate) == (rows["all on device"], rows["uncompressed split"])
    assert sent(points) == ALL
    assert steps == len(ALL)


def test_pictures_get_worse_until_the_floor_is_missed(make_point: Make, make_needs: Make) -> None:
    """The first that misses is measured, nothing below it; each codec by itself; exactly the limit is no miss."""
    drops = {"jpeg": (0.9, 0.0, 0.2, 0.1), "jpeg-420": (0.9, 0.3), "webp": (0.1, 0.1, 0.1)}
    _, points, steps = measured(FakeMeasurer(make_point, drops=drops), make_needs(drop=0.1))
    expected = [("png", 0), ("jpeg", 3), ("jpeg", 2), ("jpeg-420", 1), ("webp", 2), ("webp", 1), ("webp", 0)]
    assert sent(points) == expected
    assert steps == len(expected)


def test_missing_another_limit_ends_nothing(make_point: Make, make_needs: Make) -> None:
    _, points, _ = measured(FakeMeasurer(make_point), make_needs(latency=1e-6, payload=1))
    assert sent(points) == ALL


def test_a_picture_codec_that_this_installation_lacks_is_passed_over(
    make_point: Make, make_needs: Make, pictures: dict[str, Any]
) -> None:
    pictures["jpeg-420"].refuses = lambda size: "not built in"
    _, points, _ = measured(FakeMeasurer(make_point), make_needs())
    assert sent(points) == [row for row in ALL if row[0] != "jpeg-420"]


@pytest.mark.parametrize("unfit", [False, True])
def test_a_picture_codec_that_cannot_be_fitted_to_the_network_is_passed_over(
    make_point: Make, make_needs: Make, pictures: dict[str, Any], unfit: bool
) -> None:
    pictures["jpeg-task"].refuses = lambda size: None
    measurer = FakeMeasurer(make_point, unfit="jpeg-task" if unfit else "")
    _, points, steps = measured(measurer, make_needs())
    fitted = [] if unfit else [("jpeg-task", 1), ("jpeg-task", 0)]
    assert sent(points) == [*ALL[:-3], *fitted, *ALL[-3:]]
    assert steps == len(ALL) + len(fitted)
    assert sum(candidate.codec == "jpeg-task" for candidate in measurer.asked) == (1 if unfit else 2)


def test_tensors_are_not_sent_as_a_picture(make_point: Make, make_needs: Make) -> None:
    rows, points, steps = measured(FakeMeasurer(make_point, kind="tensor"), make_needs())
    assert list(rows) == ["all on device", "uncompressed split"]
    assert (len(points), steps) == (2, 0)


def test_the_lossy_row_is_the_best_in_what_is_preferred(make_point: Make, make_needs: Make) -> None:
    drops = {"jpeg": (0.03, 0.03, 0.02, 0.0), "jpeg-420": (0.9, 0.9), "webp": (0.9, 0.9, 0.9)}
    for prefer, rate in (("latency", 0), ("payload", 0), ("quality", 3)):
        lossy = measured(FakeMeasurer(make_point, drops=drops), make_needs(drop=0.05), prefer)[0]["send JPEG, WebP"]
        assert (lossy.codec, lossy.rate) == ("jpeg", rate)


def test_the_lossy_row_keeps_the_floor_when_all_come_too_late(make_point: Make, make_needs: Make) -> None:
    """The coarsest picture is nearest to the deadline, but it loses too much to stand for pictures."""
    drops = {"jpeg": (0.06, 0.0, 0.0, 0.0), "jpeg-420": (0.06, 0.06), "webp": (0.06, 0.06, 0.06)}
    needs = make_needs(drop=0.05, latency=0.0001)
    lossy = measured(FakeMeasurer(make_point, drops=drops), needs)[0]["send JPEG, WebP"]
    assert (lossy.codec, lossy.rate) == ("jpeg", 1)


def test_the_lossy_row_is_the_fastest_with_or_without_a_deadline(make_point: Make, make_needs: Make) -> None:
    drops = {"jpeg": (0.0,) * 4, "jpeg-420": (0.9, 0.9), "webp": (0.9, 0.02, 0.0)}
    for limits in ({"drop": 0.05}, {"drop": 0.05, "latency": 1.0}):
        lossy = measured(FakeMeasurer(make_point, drops=drops), make_needs(**limits))[0]["send JPEG, WebP"]
        assert (lossy.codec, lossy.rate) == ("jpeg", 0)
    drops["jpeg"] = (0.9, 0.0, 0.0, 0.0)  # now JPEG and WebP tie in bytes, and JPEG loses less
    lossy = measured(FakeMeasurer(make_point, drops=drops), make_needs(drop=0.05))[0]["send JPEG, WebP"]
    assert (lossy.codec, lossy.rate) == ("jpeg", 1)
    drops["jpeg"] = (0.9, 0.03, 0.0, 0.0)  # and WebP does
    lossy = measured(FakeMeasurer(make_point, drops=drops), make_needs(drop=0.05))[0]["send JPEG, WebP"]
    assert (lossy.codec, lossy.rate) == ("webp", 1)


def test_the_lossy_row_is_never_png_and_is_the_nearest_miss_when_none_fits(make_point: Make, make_needs: Make) -> None:
    drops = {"jpeg": (0.9,) * 4, "jpeg-420": (0.9, 0.3), "webp": (0.9,) * 3}
    rows = measured(FakeMeasurer(make_point, drops=drops), make_needs(drop=0.05))[0]
    assert (rows["send JPEG, WebP"].codec, rows["send JPEG, WebP"].rate) == ("jpeg-420", 1)
    assert rows["send PNG"].codec == "png"


def test_the_uncompressed_split_is_the_fastest_one_the_first_of_equals(make_point: Make, make_needs: Make) -> None:
    split = measured(FakeMeasurer(make_point), make_needs())[0]["uncompressed split"]
    assert (split.cut, split.codec, split.placement) == ("b", UNCOMPRESSED, "split")
    equal = FakeMeasurer(make_point, uncompressed={"a": 0.03, "c": 0.01, "b": 0.01})
    assert measured(equal, make_needs())[0]["uncompressed split"].cut == "c"
    first = FakeMeasurer(make_point, uncompressed={"a": 0.01, "b": 0.03})
    assert measured(first, make_needs())[0]["uncompressed split"].cut == "a"


def test_an_input_that_cannot_be_fitted_is_an_error_that_names_its_cut(make_point: Make, make_needs: Make) -> None:
    measurer = FakeMeasurer(make_point, kind="tensor", unfit=UNCOMPRESSED)
    measurer.network.cuttable = [types.SimpleNamespace(name="x", tensors=("x",), head=())]
    tensor = Tensor(name="x", shape=(1, 4), dtype="float32", elements=4, bytes=16)
    measurer.network.graph = types.SimpleNamespace(tensors={"x": tensor})
    with pytest.raises(ProfileError, match="the baseline raw cannot be fitted") as caught:
        measured(measurer, make_needs())
    assert caught.value.at == "x"


def test_a_baseline_that_cannot_be_fitted_is_an_error_that_names_it(make_point: Make, make_needs: Make) -> None:
    with pytest.raises(ProfileError, match="the baseline png cannot be fitted"):
        measured(FakeMeasurer(make_point, unfit="png"), make_needs())


def test_cuts_that_cannot_be_sent_as_they_are_are_passed_over(make_point: Make, make_needs: Make) -> None:
    """b, the fastest, holds infinity in some input, or is known for it; without any usable cut there is no row."""
    unfit = measured(FakeMeasurer(make_point, unfit=f"{UNCOMPRESSED} at b"), make_needs())[0]
    assert unfit["uncompressed split"].cut == "c"
    measurer: Any = FakeMeasurer(make_point)
    rows, points = measure_baselines(measurer, make_needs(), lambda text: None, unusable={"b"})
    assert [point.candidate.cut for label, point in rows if label == "uncompressed split"] == ["c"]
    assert points[-1].candidate.cut == "c"
    assert all(candidate.cut != "b" for candidate in measurer.asked)
    for measurer, unusable in ((FakeMeasurer(make_point, unfit=UNCOMPRESSED), ()), (FakeMeasurer(make_point), "abc")):
        rows, points = measure_baselines(measurer, make_needs(), lambda text: None, unusable=unusable)
        assert [label for label, _ in rows] == ["all on device", "send PNG", "send JPEG, WebP"]
        assert all(point.candidate.placement != "split" for point in points)


@pytest.mark.parametrize("unusable", [(), ("x",)])
def test_an_input_that_holds_infinity_is_not_sent_as_it_is(
    make_point: Make, make_needs: Make, unusable: tuple[str, ...]
) -> None:
    measurer: Any = FakeMeasurer(make_point, kind="tensor")
    measurer.network.cuttable = [types.SimpleNamespace(name="x", tensors=("x",), head=())]
    x = Tensor(name="x", shape=(1, 4), dtype="float32", elements=4, bytes=16)
    measurer.network.graph = types.SimpleNamespace(tensors={"x": x})
    rows, _ = measure_baselines(measurer, make_needs(), lambda text: None, unusable=unusable)
    assert [label for label, _ in rows] == [
        "all on device",
        *([] if unusable else ["send input"]),
        "uncompressed split",
    ]


def test_other_networks_run_alone_and_behind_pictures_only_when_they_are_listed(
    make_point: Make, make_needs: Make
) -> None:
    pruned = FakeMeasurer(make_point, name="pruned", variant="pruned")
    listed = FakeMeasurer(make_point, name="small", variant="listed")
    both: Any = [pruned, listed]
    points = measure_others(both, make_needs(), lambda text: None)
    assert [c.placement for c in pruned.asked] == ["device"]
    assert [c.placement for c in listed.asked] == ["device"] + ["server"] * len(ALL)
    assert [p.candidate for p in points] == [*pruned.asked, *listed.asked]
    assert {c.variant for c in listed.asked} == {"small"}
    assert measure_others([], make_needs(), lambda text: None) == []


def problem(pictures: Sequence[Any]) -> Any:
    samples = [types.SimpleNamespace(picture=picture) for picture in pictures]
    split = types.SimpleNamespace(calibration=types.SimpleNamespace(samples=samples))
    return types.SimpleNamespace(split=split)


def test_a_picture_has_the_bits_of_its_best_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "PICTURES", PICTURES)
    rng = np.random.default_rng(2)
    shown = [rng.integers(0, 256, (24, 16 + 8 * i, 3), np.uint8) for i in range(PROBE_INPUTS + 1)]
    jpeg = PICTURES["jpeg"]
    sizes = [len(jpeg.encode(picture, len(jpeg.rates) - 1)) for picture in shown]
    assert len(set(sizes)) == len(sizes)
    assert picture_bit(problem(shown)) == pytest.approx(8 * sum(sizes[:PROBE_INPUTS]) / PROBE_INPUTS)
    gray = len(jpeg.encode(shown[0][:, :, :1], len(jpeg.rates) - 1))
    assert picture_bit(problem([shown[0][:, :, :1]])) == 8 * gray


def test_tensors_have_no_picture_to_beat() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    assert picture_bit(problem([picture, None])) == np.inf
    assert picture_bit(problem([None, picture])) == np.inf
