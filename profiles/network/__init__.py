"""What a network is: canonical form, graph, MACs, input block, sessions of ONNX Runtime.

Imports of ours: `profiles.errors`, `profiles.units` and, of the sub-packages, files.
"""
