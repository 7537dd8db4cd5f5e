"""Documents of what was measured of a network, of its tensors and of this machine, from hand-made figures."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from splitpoint.planner.output.documents.calibrate import calibrate_document
from splitpoint.planner.output.documents.profile import profile_document
from splitpoint.planner.output.documents.tensors import tensors_part
from splitpoint.planner.profiling.calibration import Calibration
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.machine.device import Device

side = types.SimpleNamespace
RATES = ("dense_macs_s", "pointwise_macs_s", "depthwise_macs_s", "matmul_macs_s", "bytes_s")
OVERHEADS = ("node_overhead_s", "run_overhead_s")


def profile(seconds: list[float], retest_error: float) -> Any:
    return side(
        nodes=[side(name=f"n{i}", seconds=value) for i, value in enumerate(seconds)],
        whole=side(min_s=0.01, median_s=0.011, n=30),
        machine=side(cpu="a cpu", threads=1),
        retest_error=retest_error,
    )


def graph(count: int, uncounted: dict[str, int]) -> Any:
    nodes = [side(index=i, name=f"n{i}", op_type="Conv", macs=i, weight_bytes=4 * i) for i in range(count)]
    for node in nodes[: len(uncounted)]:
        node.macs = None
    return side(name="net", nodes=nodes, parameters=2_500_000, macs=10**9, uncounted=uncounted, fixed=())


def test_the_eight_slowest_operators_slowest_first() -> None:
    seconds = [0.1, 0.5, 0.2, 0.4, 0.3, 0.01, 0.02, 0.05, 0.06, 0.36]
    document = profile_document(graph(10, {}), profile(seconds, 0.05))
    assert document.slowest is not None
    assert [row.name for row in document.slowest] == ["n1", "n3", "n9", "n4", "n2", "n0", "n8", "n7"]
    first = document.slowest[0]
    assert (first.macs, first.weight_bytes, first.seconds) == (1, 4, 0.5)
    assert first.share == pytest.approx(0.25)
    assert document.lines == (
        "net: 10 operators, 2.50 M parameters, 2 GFLOPs (1 GMAC)",
        "latency 10 ms measured on a cpu, 1 thread (median 11 ms, 30 runs, retest error 5 %)",
    )


def test_a_noisy_host_and_operators_without_a_count_are_named() -> None:
    document = profile_document(graph(2, {"Erf": 1}), profile([0.1, 0.3], 0.08))
    assert document.lines is not None
    assert document.lines[2:] == (
        "warning: noisy host, two halves of the run differ by 8 %",
        "1 operator not counted: Erf (1); 25 % of the time measured on this host",
    )


def test_without_a_profile_only_what_was_given_stands_in_it() -> None:
    document = profile_document(graph(1, {}), None, modules=())
    assert (document.lines, document.slowest, document.profile, document.data) == (None, None, None, None)
    assert document.modules == ()


def test_a_row_for_each_tensor_of_each_cut() -> None:
    statistics: Any = side(
        inputs=4,
        tensor="t",
        shape=(1, 2, 3),
        elements=6,
        zero_fraction=0.5,
        low=-1.0,
        high=2.0,
        entropy_bit={2: 1.5, 4: 3.0},
        sqnr_db={2: 10.0, 4: float("inf")},
        histogram=(1, 2),
        channels=2,
        components={0.95: 3, 0.99: 5}.__getitem__,
        spectrum=np.array([2.0, 1.0]),
        correlation=0.25,
        scalar_estimated_bit=lambda target_db: target_db,
        klt_estimated_bit=lambda target_db: target_db / 2,
    )
    empty = {"head": (), "elements": 6, "bytes": 24, "head_macs": 0, "head_parameters": 0, "head_weight_bytes": 0}
    cuts = [
        Cut(index=i, tensors=names, after=f"a{i}", **empty)  # type: ignore[arg-type]  # by name
        for i, names in enumerate((("t",), ("t", "t")))
    ]
    part = tensors_part(cuts, {"t": statistics}, target_db=20.0, assumed="scaled to 0..1")
    assert (part.inputs, part.target_db, part.notes) == (4, 20.0, ("scaled to 0..1",))
    assert [(row.index, row.after) for row in part.cuts] == [(0, "a0"), (1, "a1"), (1, "a1")]
    row = part.cuts[0]
    assert (row.components_95, row.components_99) == (3, 5)
    assert row.sqnr_db == {"2": 10.0, "4": None}
    assert (row.scalar_estimated_bit, row.klt_estimated_bit, row.spectrum) == (20.0, 10.0, (2.0, 1.0))
    assert tensors_part(cuts, {"t": statistics}, target_db=20.0, assumed=None).notes == ()


@pytest.mark.parametrize("rate", RATES[:4])
def test_a_machine_whose_rates_differ_by_more_than_a_tenth_is_noisy(host: Device, rate: str, tmp_path: Any) -> None:
    def calibration(spread: Mapping[str, float]) -> Calibration:
        return Calibration(device=host, spread=spread, cold_s=0.05, probed=())

    spread = dict.fromkeys((*RATES, *OVERHEADS), 0.1)
    quiet = calibrate_document(calibration(spread), tmp_path / "mine.yaml")
    noisy = calibrate_document(calibration({**spread, rate: 0.11}), tmp_path / "mine.yaml")
    assert (quiet.warning, quiet.usable, noisy.usable) == (None, True, True)
    assert str(noisy.warning).startswith("busy machine: repeated measurements differ by up to 11 %")
    useless = calibrate_document(calibration({**spread, rate: 0.57}), tmp_path / "mine.yaml")
    assert (str(useless.warning)[:20], useless.usable) == ("DO NOT USE THIS FILE", False)
    assert quiet.written == str(tmp_path / "mine.yaml")
    assert [(row.value, row.spread) for row in quiet.rows if "first inference" in row.name] == [("50 ms", None)]
    changed = [a.name for a, b in zip(quiet.rows, noisy.rows, strict=True) if a != b]
    assert len(changed) == 1
