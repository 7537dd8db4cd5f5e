"""What single operators of ONNX and of ONNX Runtime cost: multiply-adds, or the reason why there are none.

Imports of profiles.network: model, onnxir.
"""
