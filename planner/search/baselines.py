"""What every table shows first: all on the device, pictures, and the best uncompressed split."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.deploy.schema import Placement
from splitpoint.planner.measuring.measurer import Measurer
from splitpoint.planner.measuring.pricing import UNCOMPRESSED
from splitpoint.planner.search.decide import decide, misses_quality
from splitpoint.planner.search.table import PROBE_INPUTS
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.profiles.errors import ProfileError

__all__ = ["measure_baselines", "measure_others", "picture_bit"]


def __dir__() -> list[str]:
    return __all__


ALWAYS = ("png", "jpeg", "jpeg-420", "webp")  # picture codecs that are always measured


def measure_baselines(
    given: Measurer, needs: Requirements, step: Callable[[str], None], *, prefer: str = "latency"
) -> tuple[list[tuple[str, Evaluated]], list[Evaluated]]:
    """The labelled rows of the given network, and all points that were measured for them."""
    device = _on_device(given)
    rows, measured = [("all on device", device)], [device]
    pictures = _pictures(given, needs, step)
    if pictures:
        rows.append(("send PNG", next(p for p in pictures if p.candidate.codec == "png")))
        lossy = [p for p in pictures if p.candidate.codec != "png"]
        lossy = [p for p in lossy if not misses_quality(p, needs)] or lossy
        best = decide(lossy, needs, ("payload", "drop"), Aim(prefer=prefer))
        rows.append(("send JPEG, WebP", best.recommended or best.nearest[0]))
    fastest = min(given.network.cuts.cuts, key=lambda cut: given.pricer.uncompressed(cut).latency_s)
    uncompressed = _measure(given, placement="split", cut=fastest.name, codec=UNCOMPRESSED)
    rows.append(("uncompressed split", uncompressed))
    return rows, [*measured, *pictures, uncompressed]


def measure_others(others: Sequence[Measurer], needs: Requirements, step: Callable[[str], None]) -> list[Evaluated]:
    """Every other variant alone on the device; a network of another size or width also behind pictures."""
    points = []
    for measurer in others:
        points.append(_on_device(measurer))
        if measurer.network.variant.kind == "listed":
            points += _pictures(measurer, needs, step)
    return points


def picture_bit(problem: Problem) -> float:
    """Bits of a calibration picture as JPEG of the highest quality; infinite for tensors."""
    pictures = [sample.picture for sample in problem.split.calibration.samples[:PROBE_INPUTS]]
    if problem.spec.channels != 3 or any(picture is None for picture in pictures):
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
    if spec.kind != "image" or spec.channels != 3:
        return points
    for name in ALWAYS:
        if PICTURES[name].refuses() is not None:
            continue
        for rate in reversed(range(len(PICTURES[name].rates))):
            points.append(_measure(measurer, placement="server", cut="", codec=name, rate=rate))
            step("")
            if misses_quality(points[-1], needs):
                break  # worse pictures would miss it too
    return points


def _measure(measurer: Measurer, *, placement: Placement, cut: str, codec: str, rate: int = 0) -> Evaluated:
    candidate = Candidate(variant=measurer.network.name, placement=placement, cut=cut, codec=codec, rate=rate)
    point = measurer.evaluate(candidate)
    if point is None:
        raise ProfileError(f"the baseline {codec} cannot be fitted", at=cut)
    return point
