"""Operators that have no sum of products, by operator set and by what they do instead; their time is that of bytes.

An operator that is neither here nor counted (profiles.network.operators.macs) is listed as not counted.
"""

from __future__ import annotations

from typing import Final

__all__ = ["has_no_products", "moves_elements"]


def __dir__() -> list[str]:
    return __all__


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# They move, select or re-type elements: no arithmetic.
_MOVES: Final = _words(
    """
    BitCast Cast CastLike CenterCropPad Compress Concat ConcatFromSequence Constant ConstantOfShape DepthToSpace Expand
    EyeLike Flatten Gather GatherElements GatherND Identity OneHot Optional OptionalGetElement OptionalHasElement Pad
    Range Reshape ReverseSequence Scatter ScatterElements ScatterND SequenceAt SequenceConstruct SequenceEmpty
    SequenceErase SequenceInsert SequenceLength Shape Size Slice SpaceToDepth Split SplitToSequence Squeeze
    StringConcat StringNormalizer StringSplit TensorScatter Tile Transpose Trilu Unsqueeze
    """
)
# A few operations an element (fvcore ignores them too): no sum of products, so no multiply-add is counted. Scales of
# quantization and normalization are one multiplication an element, linear interpolation four.
_ELEMENTWISE: Final = _words(
    """
    Abs Acos Acosh Add AffineGrid And Asin Asinh Atan Atanh BatchNormalization Bernoulli BitShift BitwiseAnd BitwiseNot
    BitwiseOr BitwiseXor Ceil Celu Clip Cos Cosh CumProd CumSum DequantizeLinear Div Dropout DynamicQuantizeLinear Elu
    Equal Erf Exp Floor Gelu Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Hardmax
    InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization
    Max Mean MeanVarianceNormalization Min Mish Mod Mul Multinomial Neg NonZero Not Or PRelu Pow QLinearAdd QLinearMul
    QuantizeLinear QuickGelu RMSNormalization RandomNormal RandomNormalLike RandomUniform RandomUniformLike Reciprocal
    Relu Resize RotaryEmbedding Round Selu Shrink Sigmoid Sign SimplifiedLayerNormalization Sin Sinh Softmax Softplus
    Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Upsample Where Xor
    """
)
# They compare or add the elements of a window or an axis: additions without products of two inputs.
_REDUCTIONS: Final = _words(
    """
    ArgMax ArgMin AveragePool Col2Im GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool MaxRoiPool MaxUnpool
    QLinearAveragePool QLinearGlobalAveragePool ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare RoiAlign
    """
)
_MICROSOFT: Final = _words(
    """
    BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu BifurcationDetector BitmaskDropout BranchwiseRMSNorm
    CropAndResize DequantizeLinear EmbedLayerNormalization ExpandDims FastGelu GatedAdd GatedRMSNorm
    GatherBlockQuantized GatherND GatherPacked Gelu GemmaRotaryEmbedding GridSample GroupNorm IsAllFinite
    LinearAttentionGate MRotaryEmbedding MaxpoolWithMask MulInteger MurmurHash3 NGramHashMapping NGramRepeatBlock
    NhwcMaxPool Pad QEmbedLayerNormalization QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool
    QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere QuantizeLinear QuickGelu
    Range ReduceSumInteger RotaryEmbedding ScaledSiLU SkipGroupNorm SkipLayerNormalization
    SkipSimplifiedLayerNormalization Trilu UnfoldTensor
    """
)
_NCHWC: Final = _words("AveragePool GlobalAveragePool GlobalMaxPool MaxPool ReorderInput ReorderOutput Upsample")
_ML: Final = _words(
    """
    ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer LabelEncoder
    Normalizer OneHotEncoder Scaler ZipMap
    """
)
_BY_DOMAIN: Final = {
    "": _MOVES | _ELEMENTWISE | _REDUCTIONS,
    "ai.onnx.ml": _ML,
    "com.microsoft": _MICROSOFT,
    "com.microsoft.nchwc": _NCHWC,
}


def has_no_products(domain: str, op_type: str) -> bool:
    """Whether the operator moves, compares or treats elements one by one, so that it has no multiply-add."""
    return op_type in _BY_DOMAIN.get(domain, ())


def moves_elements(domain: str, op_type: str) -> bool:
    """Whether the operator only moves, selects or re-types elements."""
    return domain == "" and op_type in _MOVES
