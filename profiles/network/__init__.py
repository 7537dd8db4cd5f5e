"""What a network is: canonical form, graph, MACs, input block, sessions of ONNX Runtime.

Imports of profiles: errors, files.
"""
