"""What a network is: canonical form, graph, MACs, input block, sessions of ONNX Runtime."""
