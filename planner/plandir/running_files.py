"""The files that run: head.onnx, tail.onnx and codec.npz of one point, as bytes."""

from __future__ import annotations

from collections.abc import Sequence

from splitpoint.codecs.coders.raw import RawCoder
from splitpoint.codecs.contract.protocol import Coder, TensorSpec
from splitpoint.codecs.store import save_coders
from splitpoint.planner.cuts.halves import join_decoder, join_encoder, split, whole_bytes
from splitpoint.planner.deploy.file_names import CODEC, HEAD, TAIL
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["device_files", "picture_files", "split_files"]


def __dir__() -> list[str]:
    return __all__


def split_files(
    graph: ModelGraph,
    cut: Cut,
    encoders: Sequence[bytes | None],
    decoders: Sequence[bytes | None],
    coders: Sequence[Coder],
) -> dict[str, bytes]:
    """A cut with one encoder graph, decoder graph and coder for each crossing tensor.

    There is no head.onnx when the network's input crosses as it is.
    """
    head, tail = split(graph, cut)
    before = {tensor: model for tensor, model in zip(cut.tensors, encoders, strict=True) if model is not None}
    after = {tensor: model for tensor, model in zip(cut.tensors, decoders, strict=True) if model is not None}
    files = {TAIL: join_decoder(tail, after) if after else tail, CODEC: save_coders(coders)}
    at_input = all(tensor in {t.name for t in graph.inputs} for tensor in cut.tensors)
    if not at_input or before:
        files[HEAD] = join_encoder(head, before) if before else head
    return files


def device_files(graph: ModelGraph) -> dict[str, bytes]:
    """The whole model on the device; its outputs are packed as they are."""
    coders = [
        RawCoder(specs=(TensorSpec(name="x", shape=tensor.shape, dtype=tensor.dtype),)) for tensor in graph.outputs
    ]
    return {HEAD: whole_bytes(graph), CODEC: save_coders(coders)}


def picture_files(graph: ModelGraph) -> dict[str, bytes]:
    """The whole model on the server; a picture codec has no tables."""
    return {TAIL: whole_bytes(graph)}
