"""Linear maps of a tensor before it is quantized."""
