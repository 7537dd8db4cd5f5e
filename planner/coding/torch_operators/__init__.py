"""ONNX operators as torch functions, by family; `registry.py` has them all by name."""
