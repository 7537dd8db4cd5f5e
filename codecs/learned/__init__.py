"""Codecs whose transform is trained: modules of torch while they are fitted, ONNX graphs afterwards.

Imports of codecs: contract, coders, pictures, transforms, quantizers.
"""
