"""Where a candidate cuts the network: which kind of answer it is, how much runs on the device, and words for both."""

from __future__ import annotations

from splitpoint.planner.deploy.schema import Kind
from splitpoint.planner.values.candidate import GIVEN, Candidate, Evaluated

__all__ = ["KINDS", "codec_text", "kind_of", "place_text"]


def __dir__() -> list[str]:
    return __all__


KINDS: tuple[Kind, ...] = ("device", "input", "split")  # the simplest first


def kind_of(point: Evaluated) -> Kind:
    """Whether `point` runs all on the device, sends its input (as a picture or a tensor), or splits the network."""
    if point.candidate.placement == "device":
        return "device"
    return "input" if point.candidate.placement == "server" or point.layer == "" else "split"


def place_text(point: Evaluated, *, with_variant: bool = False) -> str:
    """Where `point` cuts: "after blocks.10", "send picture", "send input" or "all on device".

    `with_variant` puts the name of a network other than the given one in front: "int8: after blocks.10".
    """
    candidate = point.candidate
    prefix = f"{candidate.variant}: " if with_variant and candidate.variant != GIVEN else ""
    return prefix + _text(candidate, point.layer)


def codec_text(codec: str, rate: str) -> str:
    """A codec with the label of its rate, where it has several: "kltq-rans q5", "png"."""
    return codec if rate in ("-", "lossless") else f"{codec} {rate}"


def _text(candidate: Candidate, layer: str | None) -> str:
    if candidate.placement != "split":
        return "all on device" if candidate.placement == "device" else "send picture"
    return "send input" if layer == "" else f"after {candidate.cut if layer is None else layer}"
