"""Cuts and refused places as documents hold them."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from splitpoint.planner.cuts.enumeration import CutList
from splitpoint.planner.output.documents.cuts import cuts_document
from splitpoint.planner.values.cut import Cut, Rejected
from splitpoint.profiles.network.model import Tensor


def graph(tensors: Mapping[str, Tensor], macs: int) -> Any:
    """As much of a network as the document looks at."""
    return types.SimpleNamespace(name="net", tensors=tensors, macs=macs, parameters=40, uncounted={"Erf": 2}, fixed=())


def plain(network: Any, cuts: Sequence[Cut], rejected: Sequence[Rejected] = ()) -> Any:
    document = cuts_document(network, CutList(cuts=tuple(cuts), rejected=tuple(rejected)))
    return msgspec.json.decode(msgspec.json.encode(document))


def test_a_cut_as_plain_values() -> None:
    tensors = {name: Tensor(name=name, shape=(1, n), dtype="float32", elements=n, bytes=4 * n) for name, n in
               (("a", 10), ("b", 30), ("other", 5))}  # fmt: skip
    cut = Cut(
        index=2,
        tensors=("b", "a"),
        after="add",
        head=(0, 1),
        elements=40,
        bytes=160,
        head_macs=25,
        head_parameters=7,
        head_weight_bytes=28,
        layer="block",
    )
    document = plain(graph(tensors, 100), [cut])
    assert document["cuts"][0] == {
        "index": 2,
        "layer": "block",
        "after": "add",
        "tensors": ["b", "a"],
        "shapes": [[1, 30], [1, 10]],
        "dtypes": ["float32", "float32"],
        "elements": 40,
        "bytes": 160,
        "head_macs": 25,
        "head_flops": 50,
        "head_share": 0.25,
        "head_parameters": 7,
        "head_weight_bytes": 28,
        **dict.fromkeys(("head_s", "link_s", "tail_s", "latency_s", "fallen_back")),  # without devices and a link
    }
    assert (document["model"], document["macs"], document["parameters"]) == ("net", 100, 40)
    assert document["uncounted"] == {"Erf": 2}
    assert plain(graph(tensors, 0), [cut])["cuts"][0]["head_share"] == 0.0


def test_a_refused_place_as_plain_values() -> None:
    refused = Rejected(tensors=("a", "b"), after="add", reason="two tensors cross")
    assert plain(graph({}, 100), [], [refused])["refused"] == [
        {"tensors": ["a", "b"], "after": "add", "reason": "two tensors cross"}
    ]
