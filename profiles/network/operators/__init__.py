"""What the operators of a network do: multiply-adds or why there are none, sizes, and what runs tell of shapes.

Imports of profiles.network: canonical, model, onnxir, runtime.
"""
