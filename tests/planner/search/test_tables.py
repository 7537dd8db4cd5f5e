"""The tables of several networks: where a candidate's place is, which start the search, what is left out and why."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.search import table, tables
from splitpoint.planner.search.table import Entry
from splitpoint.planner.search.tables import Tables, fit_tables
from splitpoint.planner.values.candidate import Candidate

Make = Callable[..., Any]


def entry(make_point: Make, **fields: Any) -> Entry:
    point, cut = make_point(**fields), types.SimpleNamespace(name=fields["cut"])
    error = point.accuracy.drop
    return Entry(candidate=point.candidate, cut=cut, cost=point.cost, least_cost=point.cost, error=error)  # type: ignore[arg-type]  # a name


def make_tables(
    entries: list[list[Entry]], *, cuts: list[list[str]] | None = None, codecs: tuple[str, ...] = ()
) -> Tables:
    searched: Any = [[types.SimpleNamespace(name=name) for name in names] for names in cuts or [[] for _ in entries]]
    named: Any = [types.SimpleNamespace(name=name) for name in codecs]
    return Tables(entries=entries, searched=searched, codecs=named, left_out={})


def staircase(make_point: Make, variant: str, count: int) -> list[Entry]:
    """Entries that are all on the front: each next one sends a byte more and is 1 ms faster."""
    return [
        entry(make_point, variant=variant, cut=f"{i}", payload=100.0 + i, latency=0.050 - 0.001 * i)
        for i in range(count)
    ]


def starts(candidates: list[Candidate]) -> list[str]:
    return [f"{candidate.variant} {candidate.cut}" for candidate in candidates]


def test_places_are_the_cuts_of_all_networks_in_turn(make_point: Make) -> None:
    given = [entry(make_point, cut=cut, codec=codec, rate=rate) for cut, codec, rate in [("a", "k", 0), ("a", "k", 1)]]
    given.append(entry(make_point, cut="b", codec="j", rate=0))
    half = [entry(make_point, variant="half", cut="b", codec="k", rate=3)]
    both = make_tables([given, half], cuts=[["a", "b"], ["b"]], codecs=("j", "k"))
    assert both.options() == [
        [[], [given[0].candidate, given[1].candidate]],
        [[given[2].candidate], []],
        [[], [half[0].candidate]],  # the same cut name, in another network
    ]
    assert both.size == 4


def test_a_cut_that_no_codec_codes_keeps_its_place() -> None:
    assert make_tables([[]], cuts=[["a", "b"]], codecs=("k",)).options() == [[[]], [[]]]
    assert make_tables([[]]).options() == []


def test_half_of_the_evaluations_start_from_the_table(make_point: Make) -> None:
    one = make_tables([staircase(make_point, "given", 30)])
    assert len(one.starting_points(deadline_s=None, evaluations=20)) == 10
    assert len(one.starting_points(deadline_s=None, evaluations=100)) == 30  # no more than there are
    assert one.starting_points(deadline_s=None, evaluations=0) == []
    assert starts(one.starting_points(deadline_s=None, evaluations=4)) == ["given 0", "given 29"]


def test_networks_take_turns_by_equal_shares(make_point: Make) -> None:
    """The other network's table is better everywhere: by one common front the given network would start nowhere."""
    given = staircase(make_point, "given", 9)
    better = [
        entry(make_point, variant="half", cut=f"{i}", payload=10.0 + i, latency=0.005 - 0.0001 * i) for i in range(9)
    ]
    candidates = make_tables([given, better]).starting_points(deadline_s=None, evaluations=12)
    assert starts(candidates) == ["given 0", "half 0", "given 4", "half 4", "given 8", "half 8"]


def test_a_share_is_rounded_up_and_the_sum_is_not(make_point: Make) -> None:
    both = make_tables([staircase(make_point, "given", 9), staircase(make_point, "half", 9)])
    candidates = both.starting_points(deadline_s=None, evaluations=6)  # 3 starts, of two networks
    assert starts(candidates) == ["given 0", "half 0", "given 8"]


def test_a_network_with_a_short_front_gives_what_it_has(make_point: Make) -> None:
    three = make_tables([[], staircase(make_point, "half", 1), staircase(make_point, "third", 9)])
    candidates = three.starting_points(deadline_s=None, evaluations=12)
    assert starts(candidates) == ["half 0", "third 0", "third 8"]


def test_the_deadline_reaches_every_table(make_point: Make) -> None:
    both = make_tables([staircase(make_point, "given", 9), staircase(make_point, "half", 9)])
    candidates = both.starting_points(deadline_s=0.0425, evaluations=4)  # only the last meets it
    assert starts(candidates) == ["given 8", "half 8"]


class Steps:
    """Remembers stages and what was reported in them."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.messages: list[str] = []

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[str], None]]:
        self.stages.append((name, total))
        yield self.messages.append


def fake_measurer(name: str, cuttable: list[str], refused: dict[str, str], kind: str = "given") -> Any:
    cuts = [types.SimpleNamespace(name=cut, tensors=(cut,), after=f"node of {cut}") for cut in cuttable]
    runs = types.SimpleNamespace(
        name=name,
        prepare=lambda cuts, codecs: refused,
        prepare_pictures=lambda spec: {"jpeg-task": f"not of {spec.kind}"},
        kept=None,
    )
    split = types.SimpleNamespace(calibration=None, search=None, report=None)
    spec = types.SimpleNamespace(kind="image")
    variant, by_name = types.SimpleNamespace(split=split, spec=spec, kind=kind), {cut.name: cut for cut in cuts}
    network = types.SimpleNamespace(name=name, cuttable=cuts, variant=variant, cut=by_name.__getitem__)
    pricer = types.SimpleNamespace(price=f"price of {name}")
    evaluator = types.SimpleNamespace(distance=f"distance of {name}")
    key = f"key of {name}"
    return types.SimpleNamespace(
        network=network, runs=runs, pricer=pricer, evaluator=evaluator, distance_key=key, trainings=None
    )


@pytest.fixture
def fitted(make_point: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Tables, list[Any], Steps]]:
    """`fitted(codecs)` fits tables of two networks in which every codec has two rates at every cut but the last."""
    asked: list[Any] = []

    def promising(runs: Any, cuts: list[Any], *, limit: int, ceiling_bit: float) -> list[Any]:
        asked.append(("promising", runs.name, len(cuts), limit, ceiling_bit))
        return cuts[:-1]

    def tabulate(
        runs: Any, cuts: list[Any], codecs: Any, price: Any, *, variant: str, left_out: dict[str, str], **scale: Any
    ) -> Iterator[list[Entry]]:
        distance = scale["distance"]
        assert (scale["distance_key"], scale["workers"]) == (f"key of {runs.name}", 2)
        asked.append(("tabulate", runs.name, variant, price, distance, [codec.name for codec in codecs]))
        for cut in cuts:
            for codec in codecs:
                yield [entry(make_point, variant=variant, cut=cut.name, codec=codec.name, rate=r) for r in range(2)]

    def choose_usable(runs: Any, cuts: list[Any], choose: Any, *, sets: Any, probes: int) -> tuple[list[Any], Any]:
        return choose(cuts), {"c": "it holds NaN"}

    monkeypatch.setattr(tables, "picture_bit", lambda problem: 777.0)
    monkeypatch.setattr(tables, "choose_usable", choose_usable)
    monkeypatch.setattr(table, "promising", promising)
    monkeypatch.setattr(table, "tabulate", tabulate)

    def call(codecs: Sequence[str] | None, training: object = None) -> tuple[Tables, list[Any], Steps]:
        search = types.SimpleNamespace(codecs=codecs, max_cuts=5)
        config = types.SimpleNamespace(search=search)
        problem: Any = types.SimpleNamespace(config=config, threads=2, training=training)
        measurers = [
            fake_measurer("given", ["a", "b", "c"], {"k after a": "too wide"}),
            fake_measurer("half", ["a", "b"], {"k after a": "too narrow"}, kind="pruned"),
        ]
        progress: Any = Steps()
        return fit_tables(problem, measurers, progress), asked, progress

    return call


def test_every_network_has_the_table_of_its_own_promising_cuts(
    fitted: Callable[..., tuple[Tables, list[Any], Steps]],
) -> None:
    candidates, asked, steps = fitted(("raw", "fast"))
    assert [[cut.name for cut in cuts] for cuts in candidates.searched] == [["a", "b"], ["a"]]
    assert [codec.name for codec in candidates.codecs] == ["raw", "fast"]
    assert asked == [
        ("promising", "given", 3, 5, 777.0),
        ("promising", "half", 2, 5, 777.0),
        ("tabulate", "given", "given", "price of given", "distance of given", ["raw", "fast"]),
        ("tabulate", "half", "half", "price of half", "distance of half", ["raw", "fast"]),
    ]
    assert [len(entries) for entries in candidates.entries] == [8, 4]
    assert steps.stages == [("codecs", 6)]
    assert steps.messages == [""] * 6 + ["2 presets fitted at 3 of 5 cuts, 12 candidates"]


def test_what_a_variant_leaves_out_is_said_of_that_variant(
    fitted: Callable[..., tuple[Tables, list[Any], Steps]],
) -> None:
    assert fitted(("raw",))[0].left_out == {
        "cut after node of c": "it holds NaN",
        "k after a": "too wide",
        "jpeg-task": "not of image",
        "half: k after a": "too narrow",
    }


def test_all_codecs_are_searched_when_none_are_named(fitted: Callable[..., tuple[Tables, list[Any], Steps]]) -> None:
    assert [codec.name for codec in fitted(None, training=object())[0].codecs] == list(REGISTRY)


def test_codecs_that_are_trained_are_searched_where_something_is_trained_or_they_are_named(
    fitted: Callable[..., tuple[Tables, list[Any], Steps]],
) -> None:
    trained = {name for name, codec in REGISTRY.items() if "training" in codec.needs}
    assert trained
    assert [codec.name for codec in fitted(None)[0].codecs] == [name for name in REGISTRY if name not in trained]
    assert [codec.name for codec in fitted(sorted(trained))[0].codecs] == sorted(trained)
