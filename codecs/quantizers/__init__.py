"""Coefficients to integer symbols and back, as ONNX graphs."""
