"""Linear maps of a tensor before it is quantized.

Imports of codecs: contract.
"""
