"""Codecs whose quantizer is no ONNX graph: trellis-coded quantization and lossy picture tiles.

Imports of codecs: contract, coders, pictures, quantizers, lossless.
"""
