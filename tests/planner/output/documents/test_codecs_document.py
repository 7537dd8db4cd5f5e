"""`splitpoint codecs` names every codec of the registry, what it needs, and where it is from."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from splitpoint.codecs.registry import CODEC_IDS, PAPERS, REGISTRY

Run = Callable[..., tuple[int, str, str]]


def test_every_codec_is_listed_with_what_it_needs(run: Run) -> None:
    code, out, _ = run("codecs", "--json")
    rows = {row["name"]: row for row in json.loads(out)["codecs"]}
    assert code == 0
    assert list(rows) == list(REGISTRY)
    for name, codec in REGISTRY.items():
        row = rows[name]
        assert (row["id"], row["boundary"]) == (CODEC_IDS[name], codec.boundary)
        assert (row["needs"], row["wants"]) == (sorted(codec.needs), sorted(codec.wants))
        assert row["rates"] == [rate.label for rate in codec.rates]
        assert row["paper"] == PAPERS.get(name)
    assert rows["dynamic-switch"]["needs"] == ["training"]
    assert rows["choi-tiles"]["needs"] == ["layer"]
    assert rows["kltq-ctx"]["wants"] == ["gradients"]


@pytest.mark.parametrize("author", ["brito", "assine", "choi"])
def test_presets_that_have_an_authors_name_follow_the_paper(author: str) -> None:
    """`dynamic-switch` and `range-*` have other names."""
    named = [name for name in REGISTRY if name.startswith(f"{author}-")]
    assert named
    assert all(PAPERS[name].lower().startswith(author) for name in named)
    assert PAPERS.keys() <= REGISTRY.keys()


def test_the_table_has_one_line_a_codec_and_says_what_the_words_mean(run: Run) -> None:
    lines = run("codecs")[1].splitlines()
    assert [line.split()[0] for line in lines if line.split() and line.split()[0] in REGISTRY] == list(REGISTRY)
    (switch,) = [line for line in lines if "dynamic-switch" in line]
    assert "training" in switch
    assert any(line.startswith("needs: ") for line in lines)
