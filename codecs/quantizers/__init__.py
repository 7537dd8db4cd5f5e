"""Coefficients to integer symbols and back, as ONNX graphs.

Imports of codecs: contract, coders.
"""
