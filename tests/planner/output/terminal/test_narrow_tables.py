"""Tables of codecs and trainings in 80 columns: no word is broken."""

from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from splitpoint.planner.output.documents.listings import codecs_document
from splitpoint.planner.output.documents.train import TrainDocument, TrainRow
from splitpoint.planner.output.terminal.listings import codecs_view
from splitpoint.planner.output.terminal.points import squeezed
from splitpoint.planner.output.terminal.train import train_view

WIDTH = 80


def rendered(view: RenderableType) -> list[str]:
    console = Console(width=WIDTH, color_system=None, force_terminal=False, _environ={}, file=io.StringIO())
    console.print(view)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    return text.splitlines()


def test_every_codec_is_whole() -> None:
    document = codecs_document()
    lines = rendered(codecs_view(document))
    starts = {line.split()[0]: number for number, line in enumerate(lines) if line.strip()}
    for codec in document.codecs:
        number = starts[codec.name]
        assert codec.rates[-1] in lines[number]
        assert codec.boundary.removesuffix("_symbols") in lines[number].split()
        words = " ".join(lines[number : number + 2])
        assert all(name in words for name in (*codec.needs, *codec.wants))


@pytest.mark.parametrize(
    ("losses", "shown"), [({"cross-entropy": 0.25, "distillation": 1.5}, "1.75"), ({"mse": 0.0012}, "0.0012")]
)
def test_a_training_is_whole(losses: dict[str, float], shown: str) -> None:
    row = TrainRow(
        what="codec", name="rate-bottleneck", where="after features.13", state="trained", reason=None,
        steps=12_345, inputs=3_200_544, minutes=20.02, losses=losses,
    )  # fmt: skip
    waiting = TrainRow(
        what="pruned network", name="pruned .333 by Taylor", where="before features.24", state="not begun",
        reason="not trained: 1 of 20 minutes are left", steps=None, inputs=None, minutes=None, losses=None,
    )  # fmt: skip
    document = TrainDocument(
        rows=(row, waiting), notes=(), minutes=20.0, budget=21.0, complete=False, next="splitpoint plan x.yaml"
    )
    lines = rendered(train_view(document))
    first = next(line for line in lines if line.startswith("rate-bottleneck"))
    assert first.split()[-6:] == ["12,345", "3,200,544", "20.0", shown, "trained", "now"]
    words = " ".join(lines).split()
    assert {"features.13", "features.24", "Taylor", "begun"} <= set(words)
    assert "pruned .333 by Taylor before features.24: not trained: 1 of 20 minutes are left" in lines


@pytest.mark.parametrize(
    ("text", "width", "end", "shown"),
    [
        ("features.13", 9, 3, "featu….13"),
        ("features.13", 11, 3, "features.13"),
        ("kltq-rans q12", 10, 4, "kltq-… q12"),
        ("kltq-rans q12", 6, 4, "k… q12"),
        ("dynamic-switch 50 %", 10, 5, "dyna… 50 %"),
        ("brito-vq 1024 of 2", 10, 10, "brito-vq 1024 of 2"),  # no room for a rate and two more characters
        ("raw", 2, 0, "raw"[:1] + "…"),
    ],
)
def test_what_tells_rows_apart_stays(text: str, width: int, end: int, shown: str) -> None:
    assert squeezed(text, width, end) == shown
    assert len(shown) <= max(width, len(text) if end > width - 2 else 0)
