"""``splitpoint.plan``: a network planned from Python, and the result that it gives."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import html
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import Alternative
from splitpoint.planner.face.notebook import CellLines
from splitpoint.planner.face.sources import Data, Model, named_data, named_model
from splitpoint.planner.face.tables import as_table
from splitpoint.planner.flow import plan as find
from splitpoint.planner.output.documents.plan import PlanDocument, plan_document
from splitpoint.planner.output.documents.point import PointRow, latency_words, point_row
from splitpoint.planner.output.plan_run import load_and_find
from splitpoint.planner.output.terminal.answer import answer_title
from splitpoint.planner.plandir.front import front_row
from splitpoint.planner.plandir.placing import claimed
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.config import PlanConfig, override, read_config
from splitpoint.planner.setup.inputs import PictureFlags
from splitpoint.planner.study.storage import Place
from splitpoint.planner.values.plurals import count_text
from splitpoint.planner.values.progress import Logged, Progress, Silent
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import decode_tree
from splitpoint.profiles.units import format_bytes, format_fraction

__all__ = ["PlanResult", "plan", "progress_of"]


def __dir__() -> list[str]:
    return __all__


HERE = "splitpoint.plan"  # what errors call the arguments


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PlanResult:
    """What a plan found; a notebook shows the answer and the front."""

    document: PlanDocument  # as ``splitpoint plan --json`` has it
    result: SearchResult

    @property
    def recommendation(self) -> PointRow | None:
        """The recommended point; None where nothing meets every limit."""
        recommended = self.document.recommended
        return None if recommended is None else self.document.front[recommended.number - 1]

    @property
    def reason(self) -> str:
        """Why it is recommended, or what would have to be looser."""
        recommended = self.document.recommended
        if recommended is not None:
            return recommended.reason
        return f"no candidate meets {self.document.need}; it would fit with {', or '.join(self.document.would_fit)}"

    @property
    def runner_ups(self) -> tuple[Alternative, ...]:
        """The best answer of every other kind, with its price beside the recommended one."""
        recommended = self.document.recommended
        return () if recommended is None else recommended.instead

    @property
    def front(self) -> Any:
        """The Pareto front: a pandas DataFrame where pandas is installed, else a tuple of `PointRow`."""
        return as_table(self.document.front)

    @property
    def measured(self) -> tuple[PointRow, ...]:
        """Every point that was measured, dominated ones too, in the order in which they were."""
        numbers = {point.candidate: number for number, point in enumerate(self.result.decision.front, start=1)}
        points = self.result.points
        errors = self.result.aim.errors
        return tuple(point_row(front_row(point, errors, number=numbers.get(point.candidate))) for point in points)

    def save(self, directory: str | Path, *, keep: int = 1, keep_data: bool = True) -> Plan:
        """Write the plan directory, whole or not at all, and open it; `keep` replaced plans stay as DIR.1 and so on.

        Raises `ProfileError` where nothing is recommended, or something else than a plan is in the way.
        """
        chosen = self.result.decision.recommended
        if chosen is None:
            raise ProfileError(f"there is no plan to write: {self.reason}", at=str(directory))
        with claimed(Path(directory), keep=keep) as place:
            return write_plan(self.result, chosen, place, keep_data=keep_data)

    def __repr__(self) -> str:
        return f"<PlanResult: {self._answer()}; {count_text(len(self.document.front), 'point')} on the front>"

    def _repr_html_(self) -> str:
        """The answer, why, the runner-ups and the front, every text escaped."""
        rows = "".join(
            f"<tr>{''.join(f'<td>{html.escape(t)}</td>' for t in _cells(r))}</tr>" for r in self.document.front
        )
        heads = "".join(f"<th>{html.escape(name)}</th>" for name in _heads(self.document))
        others = "".join(
            f"<li>{html.escape(f'{o.place}, {o.codec} {o.rate}: {o.price}')}</li>" for o in self.runner_ups
        )
        table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
        return (
            f"<p><b>{html.escape(self._answer())}</b><br>{html.escape(self.reason)}</p>"
            f"{f'<p>instead</p><ul>{others}</ul>' if others else ''}{table}"
        )

    def _answer(self) -> str:
        row, recommended = self.recommendation, self.document.recommended
        if row is None or recommended is None:
            return f"No candidate meets {self.document.need}"
        figures = f"{format_bytes(row.payload_bytes)}, {latency_words(row)}, {row.metric} {row.value:.2f}"
        return f"{answer_title(row, recommended.kind)}: {figures}"


def plan(
    model: Model | Any,
    data: Data | None = None,
    *,
    device: str | Path | None = None,
    server: str | Path | None = None,
    link: str | Path | None = None,
    need: Mapping[str, Any] | None = None,
    input: Mapping[str, Any] | None = None,  # the configuration's name for it
    shapes: tuple[int, ...] | Mapping[str, tuple[int, ...]] | None = None,
    task: str | Mapping[str, Any] | None = None,
    prefer: str | None = None,
    search: Mapping[str, Any] | None = None,
    profile: str | Path | None = None,
    progress: bool | None = None,
    fresh: bool = False,
    save_trained: str | Path | None = None,
    **configuration: Any,
) -> PlanResult:
    """Find where to cut `model` and how to code what crosses; nothing is written before `PlanResult.save`.

    Args:
        model: A path (.onnx), "file.py:factory", an `onnx.ModelProto`, or a `torch.nn.Module`; or a configuration
            (.yaml), whose fields the arguments then change.
        data: A folder of pictures, an .npz file, an array whose first axis counts the samples, (inputs, labels), arrays
            by name, a `Dataset`, or a function that returns one of these.
        device, server, link: Names or files of profiles. [default: host, host, wifi-5]
        need: Limits with units, such as ``{"deadline": "100 ms", "max_drop": "1 %"}``.
        input: The `input:` block, how pictures become the network's input. [default: guessed, and said]
        shapes: Of inputs that the model leaves open.
        task, prefer, search: As in a configuration.
        profile: A stored model profile (``splitpoint profile --out``), with which nothing of the network is timed.
        progress: Bars on standard error. [default: in notebooks and terminals]
        fresh: Measure again what earlier runs measured.
        save_trained: A new folder for the codecs that ``train=`` trains; ``train={"from": DIR}`` takes them from there.
        **configuration: Every other field of a configuration, by its name there.

    Raises:
        ProfileError: Of anything that cannot be planned, with the argument and what to give instead.

    Examples:
        >>> import numpy as np, splitpoint
        >>> pictures = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), np.uint8)
        >>> found = splitpoint.plan("model.onnx", pictures, device="raspberry-pi-4", server="cloud-8core",
        ...     link="lte-cat1", task="classify", need={"min_agreement": "50 %"},
        ...     search={"codecs": ["fast"], "evaluations": 2}, profile="fixed.yaml", threads=1)
        >>> found.recommendation.number in range(1, len(found.front) + 1)
        True
        >>> saved = found.save("my-plan")
        >>> payload = saved.head(pictures[0])  # on the device
        >>> saved.tail(payload).shape  # on the server
        (1, 6)
    """
    given = {
        "device": device,
        "server": server,
        "link": link,
        "need": need,
        "input": input,
        "shapes": shapes,
        "task": task,
        "prefer": prefer,
        "search": search,
        **configuration,
    }
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(named_data(data))
        name = stack.enter_context(named_model(model))
        config = _config(name, source, {key: value for key, value in given.items() if value is not None})
        _, result = load_and_find(
            config,
            pictures=PictureFlags(),
            profile=None if profile is None else Path(profile),
            fresh=fresh,
            studies=Place(),
            search=functools.partial(find, save=None if save_trained is None else Path(save_trained)),
            progress=progress_of(progress),
        )
    return PlanResult(document=plan_document(result, None, Path()), result=result)


def progress_of(shown: bool | None) -> Progress:
    """Bars, or the lines of a notebook, where they are asked for, or a person looks on: a notebook, a terminal."""
    from splitpoint.planner.output.terminal.console import StageBars, consoles

    stderr = consoles()[1]
    wanted = (stderr.is_jupyter or sys.stderr.isatty()) if shown is None else shown
    if not wanted:
        return Logged(Silent())
    return Logged(StageBars(stderr, write=CellLines() if stderr.is_jupyter else None))


def _config(model: str, source: str | None, given: Mapping[str, Any]) -> PlanConfig:
    """The configuration of the arguments; raises `ProfileError` with the argument's name."""
    if model.endswith((".yaml", ".yml")):
        config = read_config(Path(model))
        tree = {"model": config.model, "data": {"source": config.data.source}, **_plain(given)}
        changed = decode_tree(tree, PlanConfig, where=HERE)
        changes = {name: getattr(changed, name) for name in given}
        return override(config, **changes, data=None if source is None else {"source": source})
    if source is None and "data" not in given:
        raise ProfileError("a model needs sample inputs", at=f"{HERE}: data", fix="a folder, an .npz file or arrays")
    return decode_tree({"model": model, "data": {"source": source}, **_plain(given)}, PlanConfig, where=HERE)


def _plain(value: Any) -> Any:
    """Mappings, sequences and paths as a YAML file gives them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _heads(document: PlanDocument) -> tuple[str, ...]:
    metric = document.front[0].metric if document.front else "quality"
    return ("#", "cut", "MACs", "codec", "payload", "latency", metric, "lost")


def _cells(row: PointRow) -> tuple[str, ...]:
    mark = " ★" if "recommended" in row.notes else ""
    return (
        f"{row.number}{mark}",
        row.cut,
        "-" if row.head_share is None else format_fraction(row.head_share),
        f"{row.codec} {row.rate}",
        format_bytes(row.payload_bytes),
        latency_words(row),
        f"{row.value:.2f}",
        f"{100 * row.lost:.1f} % [{100 * row.lost_low:.1f}, {100 * row.lost_high:.1f}]",
    )
