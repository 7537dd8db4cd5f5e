"""The document of ``splitpoint compare``: two plans beside each other, and what was asked differently."""

from __future__ import annotations

from pathlib import Path

from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.cost import How
from splitpoint.planner.deploy.file_names import REPORT
from splitpoint.planner.deploy.schema import PlanFile
from splitpoint.planner.deploy.stored import open_plan
from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.planner.output.documents.show import ShowDocument, show_document

__all__ = ["CompareDocument", "ComparedPlan", "compare_document"]


def __dir__() -> list[str]:
    return __all__


class ComparedPlan(Value, frozen=True, kw_only=True):
    """The point that one plan deploys."""

    directory: str
    model: str
    device: str
    server: str
    link: str
    need: str
    cut: str
    codec: str
    head_share: float | None  # of the network's MACs
    payload_bytes: float
    latency_s: float
    latency_low_s: float | None  # 90 % interval of a modelled latency
    latency_high_s: float | None
    how: How
    quality: Accuracy  # of the report set; of the search set where a plan has no report
    misses: tuple[str, ...]
    front_points: int


class CompareDocument(Document, frozen=True, kw_only=True, tag="compare"):
    """The answer of ``splitpoint compare``."""

    plans: tuple[ComparedPlan, ...]  # the first and the second
    different: tuple[str, ...]  # of what was asked or measured, in words; such figures do not compare


def compare_document(first: Path, second: Path) -> CompareDocument:
    """Two plan directories beside each other; raises `ProfileError` for one that is none."""
    a, b = (open_plan(path).file for path in (first, second))
    one, other = (show_document(path, None) for path in (first, second))
    return CompareDocument(
        plans=(_compared(first, a, one), _compared(second, b, other)), different=tuple(_different(a, b, one, other))
    )


def _compared(path: Path, file: PlanFile, shown: ShowDocument) -> ComparedPlan:
    return ComparedPlan(
        directory=str(path),
        model=file.model.name,
        device=file.device.name,
        server=file.server.name,
        link=file.link.name,
        need=shown.need,
        cut=shown.cut,
        codec=shown.codec,
        head_share=shown.head_share,
        payload_bytes=shown.payload_bytes,
        latency_s=shown.parts.latency_s,
        latency_low_s=shown.latency_low_s,
        latency_high_s=shown.latency_high_s,
        how=shown.how,
        quality=shown.search if shown.report is None else shown.report,
        misses=shown.misses,
        front_points=len(shown.front),
    )


def _different(a: PlanFile, b: PlanFile, one: ShowDocument, other: ShowDocument) -> list[str]:
    """What makes figures of the two hard to compare, a line each."""
    pairs = {
        "network": (a.model.sha256, b.model.sha256),
        "metric": (a.metric, b.metric),
        "inputs of the report set": (a.files.get(REPORT), b.files.get(REPORT)),
        "device profile": (a.device.sha256, b.device.sha256),
        "server profile": (a.server.sha256, b.server.sha256),
        "link profile": (a.link.sha256, b.link.sha256),
    }
    texts = [f"another {name}" for name, (left, right) in pairs.items() if left != right]
    return texts if one.need == other.need else [*texts, f"other limits: {one.need} | {other.need}"]
