"""The document of ``splitpoint codecs``: every codec of tensors, what it needs, and where it is from."""

from __future__ import annotations

from splitpoint.codecs.contract.protocol import Boundary, Codec, Need
from splitpoint.codecs.registry import CODEC_IDS, PAPERS, REGISTRY
from splitpoint.planner.output.documents.document import Document, Value

__all__ = ["CodecRow", "CodecsDocument", "codecs_document"]


def __dir__() -> list[str]:
    return __all__


class CodecRow(Value, frozen=True, kw_only=True):
    """One codec."""

    name: str
    id: int  # in the bitstream
    rates: tuple[str, ...]  # coarsest first
    boundary: Boundary  # float32: both sides need splitpoint for more than entropy coding
    needs: tuple[Need, ...]  # it is not fitted without: labels, gradients, layer (input and weights), training
    wants: tuple[Need, ...]  # it is fitted without where the data or the network do not have them
    paper: str | None  # that it follows; None: ours, or without a source of its own


class CodecsDocument(Document, frozen=True, kw_only=True, tag="codecs"):
    """The answer of ``splitpoint codecs``."""

    codecs: tuple[CodecRow, ...]


def codecs_document() -> CodecsDocument:
    """Every codec of the registry, in its order."""
    return CodecsDocument(codecs=tuple(_row(codec) for codec in REGISTRY.values()))


def _row(codec: Codec) -> CodecRow:
    return CodecRow(
        name=codec.name,
        id=CODEC_IDS[codec.name],
        rates=tuple(rate.label for rate in codec.rates),
        boundary=codec.boundary,
        needs=tuple(sorted(codec.needs)),
        wants=tuple(sorted(codec.wants)),
        paper=PAPERS.get(codec.name),
    )
