"""Every codec by name: a preset is one line, transform x quantizer x coder."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from splitpoint.codecs.coders.context import ContextCode
from splitpoint.codecs.coders.huffman import Huffman
from splitpoint.codecs.coders.integers import Integers
from splitpoint.codecs.coders.packed import Packed
from splitpoint.codecs.coders.rans import Rans
from splitpoint.codecs.coders.raw import Raw
from splitpoint.codecs.contract.passthrough import PassThrough
from splitpoint.codecs.contract.preset import Preset
from splitpoint.codecs.contract.protocol import Codec, CodecError
from splitpoint.codecs.learned.baf_codec import BackAndForth
from splitpoint.codecs.learned.bottleneck_codec import RateBottleneck
from splitpoint.codecs.learned.jscc_codec import JointSourceChannel
from splitpoint.codecs.learned.switch_codec import DynamicSwitch
from splitpoint.codecs.lossy.tiles import LossyTiles
from splitpoint.codecs.lossy.trellis import Trellis
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.pictures.tiles import Tiles
from splitpoint.codecs.quantizers.float16 import Half
from splitpoint.codecs.quantizers.lloyd import Lloyd
from splitpoint.codecs.quantizers.range import Range
from splitpoint.codecs.quantizers.step import Step
from splitpoint.codecs.quantizers.uniform import Uniform
from splitpoint.codecs.quantizers.vector import Vector
from splitpoint.codecs.transforms.identity import Identity
from splitpoint.codecs.transforms.pca import BlockPca
from splitpoint.codecs.transforms.spectral import Spectral
from splitpoint.codecs.transforms.subset import ChannelSubset

__all__ = ["CODEC_IDS", "PAPERS", "REGISTRY", "get"]


def __dir__() -> list[str]:
    return __all__


INTEGER_TYPES = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "int64")
ANY_TYPE = ("float32", "float16", "float64", *INTEGER_TYPES)
BYTE_TYPES = ("uint8", "int8")


def _by_name(*codecs: Codec) -> dict[str, Codec]:
    return {codec.name: codec for codec in codecs}


REGISTRY: Mapping[str, Codec] = _by_name(
    PassThrough(name="raw", coder=Raw(), dtypes=ANY_TYPE),
    PassThrough(name="bytes-zstd", coder=Packed(), dtypes=BYTE_TYPES),
    PassThrough(name="bytes-rans", coder=Rans(), dtypes=BYTE_TYPES),
    PassThrough(name="integers", coder=Integers(), dtypes=INTEGER_TYPES),
    Preset(name="fp16", transform=Identity(), quantizer=Half(), coder=Raw()),
    Preset(name="fast", transform=Identity(), quantizer=Uniform(per_channel=True), coder=Rans()),
    Preset(name="uniform-zstd", transform=Identity(), quantizer=Uniform(), coder=Packed()),
    Preset(name="uniform-channel-huffman", transform=Identity(), quantizer=Uniform(per_channel=True), coder=Huffman()),
    Preset(name="brito-sq", transform=Identity(), quantizer=Uniform(), coder=Huffman(per_channel=False)),
    Preset(name="brito-lloyd", transform=Identity(), quantizer=Lloyd(), coder=Huffman(per_channel=False)),
    Preset(name="brito-tcq", transform=Identity(), coder=Trellis(coder=Huffman(per_channel=False))),
    Preset(name="brito-vq", transform=Identity(), quantizer=Vector(), coder=Huffman(per_channel=False)),
    Preset(
        name="uniform-clip-rans", transform=Identity(), quantizer=Uniform(per_channel=True, clip=True), coder=Rans()
    ),
    Preset(name="assine-pca", transform=BlockPca(keep=0.99), quantizer=Uniform(), coder=Huffman()),
    Preset(
        name="assine-pca-groups",
        transform=BlockPca(channels=16, side=2, keep=0.99),
        quantizer=Uniform(),
        coder=Huffman(),
    ),
    Preset(name="choi-tiles", transform=ChannelSubset(), quantizer=Range(), coder=Tiles(kind="png")),
    Preset(name="choi-tiles-webp", transform=ChannelSubset(), quantizer=Range(), coder=Tiles(kind="webp")),
    Preset(name="choi-tiles-jxl", transform=ChannelSubset(), quantizer=Range(), coder=Tiles(kind="jxl")),
    Preset(name="tiles-webp", transform=Identity(), quantizer=Range(), coder=Tiles(kind="webp")),
    Preset(name="lossy-tiles-jpeg", transform=Identity(), coder=LossyTiles(kind="jpeg")),
    Preset(name="lossy-tiles-webp", transform=Identity(), coder=LossyTiles(kind="webp")),
    Preset(name="lossy-tiles-avif", transform=Identity(), coder=LossyTiles(kind="avif")),
    Preset(name="lossy-tiles-hevc", transform=Identity(), coder=LossyTiles(kind="hevc")),
    Preset(name="range-zstd", transform=Identity(), quantizer=Range(), coder=Packed()),
    Preset(name="kltq-ctx", transform=Spectral(), quantizer=Step(), coder=ContextCode()),
    Preset(name="kltq-rans", transform=Spectral(), quantizer=Step(), coder=Rans()),
    Preset(name="step-ctx", transform=Identity(), quantizer=Step(), coder=ContextCode()),
    Preset(name="step-rans", transform=Identity(), quantizer=Step(), coder=Rans()),
    Preset(name="range-rans", transform=Identity(), quantizer=Range(), coder=Rans()),
    DynamicSwitch(name="dynamic-switch"),
    RateBottleneck(name="rate-bottleneck"),
    BackAndForth(name="choi-baf"),
    JointSourceChannel(name="jankowski-jscc"),
)

# Part of the bitstream: a number is never given to another codec, not even when its codec is gone.
CODEC_IDS: Mapping[str, int] = {
    "raw": 1,
    "bytes-zstd": 2,
    "bytes-rans": 3,
    "fp16": 4,
    "fast": 5,
    "uniform-zstd": 6,
    "uniform-channel-huffman": 7,
    "brito-sq": 8,
    "range-zstd": 9,
    "range-rans": 10,
    "kltq-ctx": 11,
    "kltq-rans": 12,
    "step-ctx": 13,
    "step-rans": 14,
    "brito-lloyd": 15,
    "brito-tcq": 16,
    "brito-vq": 17,
    "uniform-clip-rans": 18,
    "assine-pca": 19,
    "assine-pca-groups": 20,
    "choi-tiles": 21,
    "choi-tiles-webp": 22,
    "choi-tiles-jxl": 23,
    "tiles-webp": 24,
    "lossy-tiles-jpeg": 25,
    "lossy-tiles-webp": 26,
    "lossy-tiles-avif": 27,
    "lossy-tiles-hevc": 28,
    "integers": 29,
    "dynamic-switch": 30,
    "rate-bottleneck": 31,
    "choi-baf": 32,
    "jankowski-jscc": 33,
    "png": 128,
    "jpeg": 129,
    "jpeg-420": 130,
    "webp": 131,
    "avif": 132,
    "jpeg-3of4": 133,
    "jpeg-420-3of4": 134,
    "webp-3of4": 135,
    "avif-3of4": 136,
    "jpeg-1of2": 137,
    "jpeg-420-1of2": 138,
    "webp-1of2": 139,
    "avif-1of2": 140,
    "jpeg-task": 141,
}

BRITO = "Brito et al., Signal Compression for Efficient Partitioning of Deep Neural Networks"
ASSINE = "Assine et al., Compressing Representations for Embedded Deep Learning"
CHOI = "Choi et al., Back-and-Forth Prediction for Deep Tensor Compression"
JANKOWSKI = "Jankowski et al., Deep Joint Transmission-Recognition for Power-Constrained IoT Devices"
KUMARASWAMY = "Kumaraswamy et al., Feature Compression Using Dynamic Switches in Multi-split CNNs"
# What a preset follows; one that is not here is ours or has no source of its own.
PAPERS: Mapping[str, str] = {
    **dict.fromkeys(("brito-sq", "brito-lloyd", "brito-tcq", "brito-vq"), BRITO),
    **dict.fromkeys(("assine-pca", "assine-pca-groups"), ASSINE),
    **dict.fromkeys(("choi-tiles", "choi-tiles-webp", "choi-tiles-jxl", "range-zstd", "range-rans"), CHOI),
    "choi-baf": CHOI,
    "jankowski-jscc": JANKOWSKI,
    "dynamic-switch": KUMARASWAMY,
}


def get(name: str) -> Codec:
    """The tensor codec of that name; raises `CodecError` with the nearest names."""
    if not isinstance(name, str):
        raise CodecError(f"a codec's name is text, got {type(name).__name__}; known: {', '.join(sorted(REGISTRY))}")
    codec = REGISTRY.get(name)
    if codec is not None:
        return codec
    if name in PICTURES:
        raise CodecError(f"{name!r} codes pictures, not tensors; tensor codecs: {', '.join(sorted(REGISTRY))}")
    near = difflib.get_close_matches(name, REGISTRY, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise CodecError(f"unknown codec {name!r}: {hint}known: {', '.join(sorted(REGISTRY))}")
