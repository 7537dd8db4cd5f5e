"""The transform that does nothing: the quantizer sees the tensor itself."""

from __future__ import annotations

import dataclasses

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import Layout, channel_axis
from splitpoint.codecs.contract.protocol import Array, Context, Need

__all__ = ["FittedIdentity", "Identity"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FittedIdentity:
    """Coefficients are the tensor."""

    shape: tuple[int, ...]
    layout: Layout
    macs: int = 0
    identity: bool = True
    notes: tuple[str, ...] = ()

    def encode(self, graph: Graph, x: str) -> str:
        """Nothing to append."""
        return x

    def decode(self, graph: Graph, coefficients: str) -> str:
        """Nothing to append."""
        return coefficients


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """No transform."""

    needs: frozenset[Need] = frozenset()
    wants: frozenset[Need] = frozenset()

    def refuses(self, shape: tuple[int, ...]) -> str | None:
        """Any tensor will do."""
        return None

    def fit(self, activations: Array, context: Context) -> FittedIdentity:
        """Nothing to fit."""
        shape = (1, *activations.shape[1:])
        return FittedIdentity(shape=shape, layout=Layout(axis=channel_axis(shape)))
