"""Fitted codecs and sensitivities of a network's cuts, kept between runs by everything that they depend on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import msgspec

from splitpoint.codecs.contract.protocol import Array, Codec, CodecError, FittedCodec
from splitpoint.codecs.fitted import load_fitted, save_fitted
from splitpoint.codecs.npz import npz_bytes, read_npz
from splitpoint.planner.coding.context import Sensitivities
from splitpoint.planner.store.results import Results
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.keys import activations_key, fitted_key, sensitivities_key
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.torch_hash import module_sha256
from splitpoint.profiles.network.torch_model import is_torch_spec, load_module

__all__ = ["KeptFits"]


def __dir__() -> list[str]:
    return __all__


MOST_BYTES = 4 << 30  # of the arrays of an entry


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KeptFits:
    """Where they are kept, and what they depend on beside the network and the cut."""

    results: Results
    input_block: InputSpec
    data_sha256: str  # of the calibration set
    seed: int

    def fitted_key(
        self, graph: ModelGraph, cut: Cut, codec: Codec, rate: int, rows: Sequence[int], contexts: Sequence[str]
    ) -> str:
        """The key of `codec` fitted at `rate` to the calibration inputs `rows`; a key of a context for each tensor."""
        runtime = self.results.runtime
        activations = activations_key(
            model_sha256=graph.sha256,
            input_block=self.input_block,
            data_sha256=self.data_sha256,
            tensors=cut.tensors,
            runtime=runtime,
        )
        return fitted_key(
            activations=activations, rows=rows, codec=codec, rates=[rate], contexts=contexts, runtime=runtime
        )

    def fitted(self, key: str, fit: Callable[[], tuple[FittedCodec, ...]]) -> tuple[FittedCodec, ...]:
        """The fitted codecs under `key`; raises what `fit` raises."""
        return self.results.get("fitted-codec", key, fit, encode=save_fitted, decode=load_fitted)[0]

    def sensitivities(
        self, graph: ModelGraph, cuts: Sequence[Cut], compute: Callable[[], Sensitivities]
    ) -> Sensitivities:
        """Gradients and diagonals at all `cuts`, which are one result: they share a budget of MACs.

        Those that failed are not kept, since the next run may have more memory, nor those of a module without a source
        file, whose code nobody can compare.
        """
        try:
            module = module_sha256(load_module(graph.source)) if is_torch_spec(graph.source) else ""
        except (ProfileError, RuntimeError, TypeError):  # as `Contexts` has it: then it goes without the module
            return compute()
        key = sensitivities_key(
            model_sha256=graph.sha256,
            module_sha256=module,
            input_block=self.input_block,
            data_sha256=self.data_sha256,
            cuts=[cut.tensors for cut in cuts],
            seed=self.seed,
            runtime=self.results.runtime,
        )
        return self.results.get(
            "sensitivities",
            key,
            compute,
            encode=_encode,
            decode=_decode,
            keep=lambda found: found.missing.keys() <= found.gradients.keys(),
        )[0]


class _Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    gradients: tuple[str, ...]
    diagonals: tuple[str, ...]
    missing: dict[str, str]
    arrays: bytes  # npz of g0, g1, ..., d0, d1, ...


def _encode(found: Sensitivities) -> bytes:
    arrays = {f"g{i}": array for i, array in enumerate(found.gradients.values())}
    arrays |= {f"d{i}": array for i, array in enumerate(found.diagonals.values())}
    stored = _Stored(
        gradients=tuple(found.gradients),
        diagonals=tuple(found.diagonals),
        missing=found.missing,
        arrays=npz_bytes(arrays),
    )
    return msgspec.msgpack.encode(stored)


def _decode(content: bytes) -> Sensitivities:
    stored = msgspec.msgpack.decode(content, type=_Stored)
    arrays = read_npz(stored.arrays, limit_bytes=MOST_BYTES)

    def named(kind: str, names: Sequence[str]) -> dict[str, Array]:
        try:
            return {name: arrays[f"{kind}{i}"] for i, name in enumerate(names)}
        except KeyError as error:
            raise CodecError(f"sensitivities without an array {error}") from None

    return Sensitivities(
        gradients=named("g", stored.gradients), diagonals=named("d", stored.diagonals), missing=stored.missing
    )
