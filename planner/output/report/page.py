"""The page: sections in words and tables, charts as data beside them, and nothing that is loaded from elsewhere.

Names from a plan are text: of HTML through `html.escape`, of a chart's JSON with every `<` as an escape. The page's own
policy (Content-Security-Policy) allows the two scripts by their hash, no other script, and no connection.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import shlex
from collections.abc import Iterator, Sequence

from splitpoint.planner.deploy.file_names import CONFIG
from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.limits.text import bound_text
from splitpoint.planner.output.documents.point import latency_words
from splitpoint.planner.output.report.chart import Axis, Chart, Table, axis_of
from splitpoint.planner.output.report.content import Content
from splitpoint.planner.output.report.network import halves_chart, places_chart, sizes_chart
from splitpoint.planner.output.report.payoff import map_chart
from splitpoint.planner.output.report.points import cost_chart, front_chart, point_name, quality_chart
from splitpoint.planner.output.terminal.answer import answer_title
from splitpoint.planner.output.terminal.figures import metric_text, payload_range_text, quality_text
from splitpoint.planner.values.plurals import count_text
from splitpoint.profiles.network.inputs import is_guess_of_levels
from splitpoint.profiles.units import format_bytes, format_fraction, format_rate, format_uses

__all__ = ["charts", "page_text"]


def __dir__() -> list[str]:
    return __all__


MARKED = ' class="marked"'
UNSAFE = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}  # inside <script>


def charts(content: Content) -> tuple[Chart, ...]:
    """Every chart, in the order of the page."""
    makers = front_chart, cost_chart, places_chart, quality_chart, sizes_chart, halves_chart, map_chart
    return tuple(make(content) for make in makers)


def page_text(content: Content, *, plotly: str, style: str, script: str) -> str:
    """The report as one HTML file; `plotly`, `style` and `script` are what the page is drawn with."""
    drawn = {chart.key: _chart(chart) for chart in charts(content)}
    name = content.plan.model.name
    sections = (
        ("answer", "The answer", _answer(content)),
        *((chart.key, chart.title, drawn[chart.key]) for chart in charts(content)),
        ("policy", "By uplink rate", _policy(content)),
        ("limits", "Limits and misses", _limits(content)),
        ("notes", "Notes and warnings", _notes(content)),
        ("provenance", "Where it comes from", _provenance(content)),
    )
    policy = (
        f"default-src 'none'; script-src {_hash(plotly)} {_hash(script)}; style-src 'unsafe-inline';"
        " img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    links = "".join(f'<li><a href="#{key}">{_text(title)}</a></li>' for key, title, _ in sections)
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{_text(title)}</h2>{text}</section>\n'
        for key, title, text in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="{_text(content.plan.created_by)}">
<title>{_text(name)}: where to cut it</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the answer</a>
<header><p class="kind">splitpoint report</p><h1>{_text(name)}</h1><p>{_text(content.shown.header)}</p></header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="main" tabindex="-1">
<noscript><p class="note">Charts need scripts, which are off here: every chart has its table.</p></noscript>
{body}</main>
<footer><p>Made by splitpoint report from the files of this plan directory. Nothing is loaded.</p></footer>
<script>{plotly}</script>
<script>{script}</script>
</body>
</html>
"""


def _answer(content: Content) -> str:
    """The recommendation and the other kinds of answer in words, and what the report set says."""
    shown, plan = content.shown, content.plan
    row = next((row for row in content.front if row.number == content.recommended), None)
    parts = []
    if plan.answer is not None and row is not None:
        title = answer_title(row, plan.answer.kind)
        parts.append(f'<p class="answer"><strong>{_text(title[:1].upper() + title[1:])}</strong></p>')
        sent = format_bytes(row.payload_bytes) if row.channel_uses is None else format_uses(row.channel_uses)
        figures = (
            ("sent with each request", sent),
            (
                "latency",
                latency_words(row) if row.latency_s is None else f"{latency_words(row)} ({row.latency_how})",
            ),
            (f"{row.metric} (measured)", f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"),
            (
                "lost (estimate)",
                f"{100 * row.lost:z.1f} points [{100 * row.lost_low:z.1f}, {100 * row.lost_high:z.1f}]",
            ),
        )
        parts.append(_pairs(figures, kind="figures"))
        parts.append(
            f"<p>Point {row.number} of the front, best in {_text(plan.answer.prefer)}: {_text(plan.answer.reason)}.</p>"
        )
        if plan.answer.not_certain is not None:
            parts.append(f"<p>{_text(plan.answer.not_certain)}.</p>")
        if plan.answer.instead:
            others = "".join(
                f"<li><strong>{_text(other.place)}"
                f"{'' if other.codec == '-' else _text(f', {other.codec} {other.rate}')}</strong>"
                f"{'' if other.number is None else f' (point {other.number})'}: {_text(other.price)}</li>"
                for other in plan.answer.instead
            )
            parts.append(f"<h3>Instead</h3><ul>{others}</ul>")
    if plan.point != content.recommended or plan.answer is None:
        parts.append(
            f'<p class="note">This directory holds point {plan.point}: {_text(shown.cut)}, {_text(shown.codec)}.</p>'
        )
    checked = [f"Search set: {quality_text(plan.search, symbols=shown.symbols)}."]
    if plan.report is not None:
        checked.append(f"Report set (never searched): {quality_text(plan.report, symbols=shown.symbols)}.")
    if plan.payload_range is not None:
        checked.append(f"{payload_range_text(plan.payload_range, symbols=shown.symbols)}.")
    lines = "".join(f"<li>{_text(line)}</li>" for line in checked)
    parts.append(f"<h3>Checked: point {plan.point}</h3><ul>{lines}</ul>")
    return "".join(parts)


def _policy(content: Content) -> str:
    rows = content.plan.policy
    if not rows:
        return "<p>The rate of this link changes nothing.</p>"
    table = Table(
        headers=("from", "to", "point", "answer"),
        rows=tuple(
            (
                format_rate(row.from_bit_s),
                format_rate(row.to_bit_s),
                "-" if row.number is None else str(row.number),
                row.what or "nothing meets every limit",
            )
            for row in rows
        ),
    )
    text = "What would be recommended at another mean uplink rate, from the same measured points."
    return f"<p>{text}</p>{_table(table, 'By uplink rate')}"


def _limits(content: Content) -> str:
    """Each limit with how many points miss it; what a looser one would allow; every point that misses one."""
    needs, metric = content.plan.requirements, content.plan.metric.name
    parts = []
    if needs.bounds:
        rows = tuple(
            (
                bound_text(bound.limit, bound.value, metric),
                f"{bound.device}'s own" if bound.device else "asked for",
                f"{sum(bound.limit in row.misses for row in content.rows)} of {len(content.rows)}",
                LIMITS[bound.limit].help.partition(",")[0].rstrip(".") or "Files of the head in flash",
            )
            for bound in needs.bounds
        )
        parts.append(
            _table(Table(headers=("limit", "whose", "measured points that miss it", "what it is"), rows=rows), "Limits")
        )
    else:
        parts.append("<p>Nothing was limited.</p>")
    if needs.confident:
        parts.append("<p>The 95 % bound of the quality must meet its limit, not the estimate alone.</p>")
    if needs.deadline_share is not None:
        parts.append(f"<p>The deadline must hold in {format_fraction(needs.deadline_share)} of the requests.</p>")
    if content.shown.relax:
        items = "".join(
            f"<li>With {_text(row.text)}: {_text(row.what)}{_text(f' ({row.price})') if row.price else ''}</li>"
            for row in content.shown.relax
        )
        parts.append(f"<h3>What a looser limit would allow</h3><ul>{items}</ul>")
    missed = tuple(
        (point_name(row), "; ".join(note for note in row.notes if note != "recommended"))
        for row in content.rows
        if row.misses
    )
    if missed:
        table = _table(Table(headers=("measured point", "misses"), rows=missed), "Points that miss a limit")
        summary = f"{count_text(len(missed), 'measured point')} outside a limit"
        parts.append(f"<details><summary>{summary}</summary>{table}</details>")
    return "".join(parts)


def _notes(content: Content) -> str:
    """What was assumed, left out or uncertain; a guess of the input's levels first, on which every figure depends."""
    notes = sorted(content.plan.found_by.notes, key=lambda note: not is_guess_of_levels(note))
    if not notes:
        return "<p>This plan directory holds none.</p>"
    items = "".join(
        f"<li>{f'<strong>{_text(note)}</strong>' if is_guess_of_levels(note) else _text(note)}</li>" for note in notes
    )
    return f"<ul>{items}</ul>"


def _provenance(content: Content) -> str:
    plan = content.plan
    again = shlex.join(["splitpoint", "plan", f"{content.folder}/{CONFIG}", "--out", "DIR"])
    machine, profiled = plan.planned_on, plan.profiled_on
    pairs = (
        ("task", metric_text(plan.task, plan.metric)),
        ("need", content.shown.need),
        ("model", f"{plan.model.name}, from {plan.model.source}"),
        ("model's SHA-256", plan.model.source_sha256),
        ("plan's SHA-256", content.shown.sha256),
        ("created", content.shown.created),
        ("device", f"{plan.device.name}, SHA-256 {plan.device.sha256}"),
        ("server", f"{plan.server.name}, SHA-256 {plan.server.sha256}"),
        ("link", f"{plan.link.name}, SHA-256 {plan.link.sha256}"),
        (
            "search",
            f"{count_text(plan.found_by.evaluations, 'candidate')} measured of {plan.found_by.candidates},"
            f" seed {plan.found_by.seed}, best in {', '.join(plan.found_by.objectives)}",
        ),
        ("model profile", f"SHA-256 {plan.profile_sha256}"),
        ("planned on", f"{machine.cpu}, {count_text(machine.threads, 'thread')}, {machine.os}, {machine.arch}"),
        (
            "profiled on",
            f"{profiled.cpu}, {count_text(profiled.threads, 'thread')}, ONNX Runtime {profiled.onnxruntime}",
        ),
        ("versions", ", ".join(f"{name} {version}" for name, version in plan.versions.items())),
    )
    command = (
        f'<h3>The command that plans it again</h3><pre tabindex="0"><code>{_text(again)}</code></pre>'
        f"<details><summary>{CONFIG}: what was asked, with every default</summary>"
        f'<pre tabindex="0"><code>{_text(content.config)}</code></pre></details>'
        if content.config
        else ""
    )
    return _pairs(pairs, kind="facts") + command


def _chart(chart: Chart) -> str:
    """The sentence, the drawing with its axes to choose, and the same as a table."""
    parts = [f"<p>{_text(chart.text)}</p>"]
    if chart.figure is not None:
        data = {"figure": chart.figure, "axes": list(map(_axis, chart.axes)), "groups": chart.groups}
        parts.append(
            f'{"".join(_choices(chart))}<div class="chart" id="{chart.key}-chart" role="img"'
            f' aria-label="{_text(f"Chart: {chart.title}. The same as a table follows.")}"></div>'
            f'<script type="application/json" data-chart="{chart.key}-chart">{_json(data)}</script>'
        )
    if chart.table is not None and chart.table.rows:
        table = _table(chart.table, chart.title)
        parts.append(f"<details><summary>{_text(chart.title)} as a table</summary>{table}</details>")
    return "".join(parts)


def _choices(chart: Chart) -> Iterator[str]:
    if not chart.axes:
        return
    yield '<div class="choices">'
    for place, letter in enumerate("xy"):
        options = "".join(
            f'<option value="{i}"{" selected" if i == place else ""}>{_text(html.unescape(axis.title))}</option>'
            for i, axis in enumerate(chart.axes)
        )
        label = "across" if letter == "x" else "upwards"
        yield f'<label>{label} <select data-for="{chart.key}-chart" data-axis="{letter}">{options}</select></label>'
    yield "</div>"


def _axis(axis: Axis) -> dict[str, object]:
    return {"layout": axis_of(axis), "values": axis.values}


def _table(table: Table, caption: str) -> str:
    head = "".join(f'<th scope="col">{_text(header)}</th>' for header in table.headers)
    body = "".join(
        f"<tr{MARKED if i == table.marked else ''}>"
        f'<th scope="row">{_text(row[0])}</th>{"".join(f"<td>{_text(cell)}</td>" for cell in row[1:])}</tr>'
        for i, row in enumerate(table.rows)
    )
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{_text(f"Table: {caption}")}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _pairs(pairs: Sequence[tuple[str, str]], *, kind: str) -> str:
    return f'<dl class="{kind}">{"".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in pairs)}</dl>'


def _text(text: str) -> str:
    return html.escape(text, quote=True)


def _json(value: object) -> str:
    """JSON that no name in it can end: `</script>` is a value inside, never a tag."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False).translate(UNSAFE)


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
