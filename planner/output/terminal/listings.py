"""The views of what is there: shipped profiles, codecs, and what earlier runs kept."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from splitpoint.planner.output.documents.cache import CacheDocument, KindRow
from splitpoint.planner.output.documents.listings import CodecsDocument, FigureRow, ProfileFigures, ProfilesDocument
from splitpoint.planner.values.plurals import count_text
from splitpoint.profiles.units import format_bytes

__all__ = ["cache_view", "codecs_view", "profiles_view"]


def __dir__() -> list[str]:
    return __all__


CODECS_LEGEND = (
    "needs: it takes part only where these are given; (in brackets): it does without where they are not.\n"
    "training: of the codec's own weights ($.train). layer: the layer that makes the tensor. convolution: the tensor is"
    " the output of one, before its activation. gradients: of the network's answers.\n"
    "channel: a link with an SNR, over which it sends symbols in place of bits.\n"
    "boundary float32: its quantizer cannot be an ONNX graph, so both sides need splitpoint for it."
)


def profiles_view(document: ProfilesDocument) -> RenderableType:
    """Shipped profiles by kind, or one with every figure."""
    if document.figures is not None:
        return _figures_view(document, document.figures)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("kind", "name", "description"):
        table.add_column(name, overflow="fold")
    for row in document.profiles:
        table.add_row(row.kind, row.name, row.description)
    return table


def _figures_view(document: ProfilesDocument, shown: ProfileFigures) -> RenderableType:
    """One figure a line with the number of its source, the sources below; quotes are in the document alone."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("figure", overflow="fold")
    table.add_column("value", overflow="fold")
    table.add_column("source", justify="right", no_wrap=True)
    numbers: dict[str, int] = {}
    network = ""
    for figure in shown.figures:
        if figure.name.endswith("].net"):  # a published latency is one line: "fitted_on ncnn-squeezenet"
            network = f"{figure.name.partition('[')[0]} {figure.text}"
            continue
        source = _source_text(figure)
        number = "" if source is None else f"[{numbers.setdefault(source, len(numbers) + 1)}]"
        table.add_row(network if figure.name.endswith("].seconds") else figure.name, figure.text, number)
    lines = [f"[{number}] {source}" for source, number in numbers.items()]
    if any(figure.quote for figure in shown.figures):
        lines.append("What stands there word for word: --json.")
    if not lines:
        lines.append("The file gives no sources.")
    if shown.not_known:
        lines.append(
            f"Not known: {', '.join(shown.not_known)}. A limit that needs one of these is refused, not guessed."
        )
    if shown.error is not None:
        lines.append(f"Error of predicted seconds: {shown.error}.")
    titles = [Text(f"{row.kind} {row.name}: {row.description}", style="bold") for row in document.profiles]
    return Group(*titles, table, Text("\n".join(lines)))


def _source_text(figure: FigureRow) -> str | None:
    if figure.source is None:
        return None
    return figure.source if figure.date is None else f"{figure.source} ({figure.date})"


def codecs_view(document: CodecsDocument) -> RenderableType:
    """One row a codec, then what the columns mean."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)  # 80 columns are enough
    table.add_column("codec", no_wrap=True)
    table.add_column("id", justify="right", no_wrap=True)
    for name in ("rates", "boundary"):
        table.add_column(name, no_wrap=True)
    table.add_column("needs", overflow="fold")
    table.add_column("paper", no_wrap=True)
    for row in document.codecs:
        table.add_row(
            row.name,
            str(row.id),
            _range(row.rates),
            row.boundary.removesuffix("_symbols"),
            " ".join([*row.needs, *(f"({name})" for name in row.wants)]),
            "" if row.paper is None else row.paper.partition(" et al.")[0],
        )
    return Group(table, Text(CODECS_LEGEND, style="dim"))


def cache_view(document: CacheDocument) -> RenderableType:
    """A line a kind, and what was done."""
    total = sum(row.size_bytes for row in document.kinds)
    lines = [f"{document.folder}: {format_bytes(total)} of at most {format_bytes(document.limit_bytes)}"]
    lines += [_kept_line(row, "result") for row in document.kinds]
    lines += [f"{_kept_line(row, 'file')}  of trainings, beside the limit" for row in document.working]
    if document.verified is not None:
        bad = f"{document.damaged} damaged and removed" if document.damaged else "none is damaged"
        lines.append(f"{count_text(document.verified, 'result')} read, {bad}")
    if document.cleared is not None:
        files = f" and {count_text(document.cleared_files, 'file')} of trainings" if document.cleared_files else ""
        lines.append(f"{count_text(document.cleared, 'result')}{files} removed")
    return Group(Text("\n".join(lines)))


def _range(labels: Sequence[str]) -> str:
    """The only rate, or the coarsest and the finest."""
    return labels[0] if len(labels) == 1 else f"{labels[0]} .. {labels[-1]}"


def _kept_line(row: KindRow, noun: str) -> str:
    return f"  {row.kind:<14} {count_text(row.entries, noun):>16} {format_bytes(row.size_bytes):>10}"
