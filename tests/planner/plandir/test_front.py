"""front.csv: its columns never change, and what is written is read back."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splitpoint.planner.choice.errors import SpeedErrors
from splitpoint.planner.plandir.front import front_row, front_text, parse_front
from splitpoint.profiles.errors import ProfileError

Make = Callable[..., Any]
COLUMNS = (
    "number,variant,placement,cut,tensor,head_share,codec,rate,payload_bytes,payload_how,channel_uses,symbols,latency_s,latency_low_s,latency_high_s,deadline_latency_s,latency_how,"
    "head_how,head_spread_s,tail_how,tail_spread_s,infeasible,frame_rate,energy_j,usd,side_bytes,head_bytes,"
    "head_peak_bytes,head_file_bytes,metric,value,low,high,drop,drop_low,drop_high,lost,lost_low,lost_high,relative_error,n,groups,set,"
    "prepare_s,head_s,encode_s,link_s,wait_s,decode_s,tail_s"
)


def test_the_columns_and_a_row_as_text(make_point: Make) -> None:
    point = make_point(payload=82.5, latency=0.25, cut='a,"b"', head_share=0.5, head_how="measured", side_bytes=299)
    header, row, end = front_text([point], [point], SpeedErrors()).split("\n")
    assert (header, end) == (COLUMNS, "")
    assert row == (
        '1,given,split,"after a,""b""","a,""b""",0.5,k,q1,82.5,measured,,,0.25,,,0.25,modelled,'
        "measured,,,,,4.0,,,299,0,0,0,top1,0.9,0.9,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,100,100,search,0.0,0.25,0.0,0.0,0.0,0.0,0.0"
    )


def test_numbered_points_come_first_and_the_others_by_bytes(make_point: Make) -> None:
    points = [make_point(cut=cut, payload=size) for cut, size in (("c", 3), ("b", 2), ("a", 1), ("d", 4))]
    front = [points[3], points[1]]
    rows = list(csv.DictReader(front_text(points, front, SpeedErrors()).splitlines()))
    assert [(row["number"], row["tensor"]) for row in rows] == [("1", "d"), ("2", "b"), ("", "a"), ("", "c")]


def test_the_front_is_read_back_whole(make_point: Make, tmp_path: Path) -> None:
    split = make_point(latency=1 / 3, head_how="measured", head_spread_s=1e-7, n=7)
    alone = make_point(placement="device", cut="", payload=0.0, variant="int8")
    never = make_point(cut="x", infeasible="too long", latency=math.inf)
    (tmp_path / "front.csv").write_text(front_text([never, alone, split], [alone, split], SpeedErrors()))
    assert parse_front((tmp_path / "front.csv").read_bytes(), at=str(tmp_path / "front.csv")) == [
        front_row(alone, SpeedErrors(), number=1),
        front_row(split, SpeedErrors(), number=2),
    ]


def test_a_point_that_never_arrives_has_no_seconds(make_point: Make) -> None:
    row = front_row(make_point(infeasible="too long", latency=math.inf), SpeedErrors(), number=None)
    assert (row.latency_s, row.deadline_latency_s, row.head_s, row.infeasible) == (None, None, None, "too long")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("82.5", "many", "payload_bytes"),
        ("payload_bytes", "surprise", "surprise"),
        ("split", "cloud", "placement"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(make_point: Make, tmp_path: Path, old: str, new: str, message: str) -> None:
    point = make_point(payload=82.5)
    (tmp_path / "front.csv").write_text(front_text([point], [point], SpeedErrors()).replace(old, new, 1))
    with pytest.raises(ProfileError, match=message) as caught:
        parse_front((tmp_path / "front.csv").read_bytes(), at=str(tmp_path / "front.csv"))
    assert str(caught.value.at).endswith("front.csv: line 2")


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ProfileError, match="cannot be read"):
        parse_front(b"number\n\xff\n", at="front.csv")


def test_a_front_of_format_5_2_has_no_intervals(make_point: Make) -> None:
    point = make_point(latency=0.25)
    lines = front_text([point], [point], SpeedErrors(device=1.2)).splitlines()
    rows = list(csv.DictReader(lines))
    assert float(rows[0]["latency_low_s"]) < 0.25 < float(rows[0]["latency_high_s"])
    kept = [name for name in COLUMNS.split(",") if name not in ("latency_low_s", "latency_high_s")]
    older = "\n".join([",".join(kept), ",".join(rows[0][name] for name in kept)])
    (row,) = parse_front(older.encode(), at="front.csv")
    assert (row.latency_s, row.latency_low_s, row.latency_high_s) == (0.25, None, None)
