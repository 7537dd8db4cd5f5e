"""What every table shows first: all on the device, pictures, and the best uncompressed split."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.coding.crossing import INTEGERS, applies
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.deploy.schema import Placement
from splitpoint.planner.measuring.measurer import Measurer
from splitpoint.planner.measuring.network import Network
from splitpoint.planner.measuring.pricing import UNCOMPRESSED
from splitpoint.planner.search.decide import decide, misses_quality
from splitpoint.planner.search.table import PROBE_INPUTS
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError

__all__ = ["measure_baselines", "measure_others", "picture_bit", "sends_pictures"]


def __dir__() -> list[str]:
    return __all__


ALWAYS = ("png", "jpeg", "jpeg-420", "jpeg-task", "webp")  # picture codecs that are always measured


def measure_baselines(
    given: Measurer,
    needs: Requirements,
    step: Callable[[str], None],
    *,
    unusable: Collection[str] = (),
    prefer: str = "latency",
) -> tuple[list[tuple[str, Evaluated]], list[Evaluated]]:
    """The labelled rows of the given network, and all points that were measured for them.

    Tensors that are `unusable` cannot be sent; there is no uncompressed split when all cuts have one.
    """
    device = _on_device(given)
    rows, measured = [("all on device", device)], [device]
    pictures = _pictures(given, needs, step)
    if pictures:
        rows.append(("send PNG", next(p for p in pictures if p.candidate.codec == "png")))
        lossy = [p for p in pictures if p.candidate.codec != "png"]
        lossy = [p for p in lossy if not misses_quality(p, needs)] or lossy
        best = decide(lossy, needs, ("payload", "drop"), Aim(prefer=prefer))
        rows.append(("send JPEG, WebP", best.recommended or best.nearest[0]))
    if not pictures:
        rows += _sent_inputs(given, unusable)
        measured += [point for _, point in rows[1:]]
    measured += pictures
    usable = [cut for cut in given.network.cuts.cuts if not set(unusable) & set(cut.tensors)]
    fastest = _fastest_uncompressed(given, usable)
    if fastest is not None:
        rows.append(("uncompressed split", fastest))
        measured.append(fastest)
    return rows, measured


def _fastest_uncompressed(given: Measurer, cuts: Sequence[Cut]) -> Evaluated | None:
    """The cut that is fastest when its tensors are sent as they are; one that raw bytes cannot hold is passed over."""
    for cut in sorted(cuts, key=lambda cut: given.pricer.uncompressed(cut).latency_s):
        candidate = Candidate(variant=given.network.name, placement="split", cut=cut.name, codec=UNCOMPRESSED, rate=0)
        point = given.evaluate(candidate)
        if point is not None:
            return point
    return None


def measure_others(others: Sequence[Measurer], needs: Requirements, step: Callable[[str], None]) -> list[Evaluated]:
    """Every other variant alone on the device; a network of another size or width also behind pictures."""
    points = []
    for measurer in others:
        points.append(_on_device(measurer))
        if sends_pictures(measurer.network):
            points += _pictures(measurer, needs, step)
    return points


def sends_pictures(network: Network) -> bool:
    """Whether pictures are sent to this variant: a server has no need of a pruned one."""
    return network.variant.spec.kind == "image" and network.variant.kind in ("given", "listed")


def picture_bit(problem: Problem) -> float:
    """Bits of a calibration picture as JPEG of the highest quality; infinite for tensors."""
    pictures = [sample.picture for sample in problem.split.calibration.samples[:PROBE_INPUTS]]
    if any(picture is None for picture in pictures):
        return np.inf
    codec = PICTURES["jpeg"]
    sizes = [len(codec.encode(p, len(codec.rates) - 1)) for p in pictures if p is not None]
    return 8 * float(np.mean(sizes))


def _on_device(measurer: Measurer) -> Evaluated:
    return _measure(measurer, placement="device", cut="", codec="-")


def _pictures(measurer: Measurer, needs: Requirements, step: Callable[[str], None]) -> list[Evaluated]:
    """Every picture codec from its best quality down to where the quality floor is missed; none for tensors."""
    points: list[Evaluated] = []
    spec = measurer.network.variant.spec
    if not sends_pictures(measurer.network):
        return points
    for name in ALWAYS:
        if PICTURES[name].refuses(spec.height_width) is not None:
            continue
        for rate in reversed(range(len(PICTURES[name].rates))):
            candidate = Candidate(variant=measurer.network.name, placement="server", cut="", codec=name, rate=rate)
            point = measurer.evaluate(candidate)
            if point is None and PICTURES[name].weighted:
                break  # its tables cannot be fitted to this network: `search.tables` says why
            points.append(_required(point, candidate))
            step("")
            if misses_quality(points[-1], needs):
                break  # worse pictures would miss it too
    return points


def _sent_inputs(measurer: Measurer, unusable: Collection[str]) -> list[tuple[str, Evaluated]]:
    """The inputs sent without loss, integers (token ids) by their own codec; nothing where they cannot cross."""
    usable = (cut for cut in measurer.network.cuttable if not set(unusable) & set(cut.tensors))
    first = next((cut for cut in usable if not cut.head), None)
    if first is None:
        return []
    tensors = [measurer.network.graph.tensors[name] for name in first.tensors]
    codec = INTEGERS if applies(REGISTRY[INTEGERS], tensors) else UNCOMPRESSED
    return [("send input", _measure(measurer, placement="split", cut=first.name, codec=codec))]


def _measure(measurer: Measurer, *, placement: Placement, cut: str, codec: str) -> Evaluated:
    candidate = Candidate(variant=measurer.network.name, placement=placement, cut=cut, codec=codec, rate=0)
    return _required(measurer.evaluate(candidate), candidate)


def _required(point: Evaluated | None, candidate: Candidate) -> Evaluated:
    if point is None:
        raise ProfileError(f"the baseline {candidate.codec} cannot be fitted", at=candidate.cut)
    return point
