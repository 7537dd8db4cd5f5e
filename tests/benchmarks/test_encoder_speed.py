"""The table of encoders: every codec that it can hold, the cheapest first, the costly ones marked."""

from __future__ import annotations

import json
from pathlib import Path

from splitpoint.benchmarks.document import END, begin, generated
from splitpoint.benchmarks.encoder_speed import COMMAND, DOCS, table
from splitpoint.benchmarks.stored import RESULTS
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.registry import REGISTRY

ROWS = json.loads(Path(RESULTS / "codecs-encoders.json").read_text())["rows"]


def test_the_page_has_what_was_stored() -> None:
    assert generated(DOCS, COMMAND) == "\n".join([begin(COMMAND), "", table(ROWS), END])


def test_every_codec_that_takes_activations_alone_is_timed() -> None:
    shape = (1, 112, 14, 14)
    alone = {name for name, codec in REGISTRY.items() if not codec.needs and codec.refuses(shape, "float32") is None}
    timed = {row["codec"] for row in ROWS}
    optional = {"choi-tiles-jxl", "lossy-tiles-hevc"}
    assert alone | set(PICTURES) <= timed | optional
    assert "jpeg-task" in timed


def test_a_tenth_of_the_head_is_not_marked_and_more_is() -> None:
    def row(codec: str, encode_s: float, share: float | None) -> dict[str, object]:
        return {"codec": codec, "rate": "q1", "encode_s": encode_s, "head_s": 0.01, "head_share": share}

    assert table([row("c", 0.002, 0.2), row("b", 0.001, 0.1), row("a", 0.0005, None)]).splitlines()[2:] == [
        "| `a` | q1 | 0.50 | no head |",
        "| `b` | q1 | 1.00 | 10.0 % |",
        "| `c` | q1 | 2.00 | **20.0 %** |",
    ]
