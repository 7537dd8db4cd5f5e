"""Pictures, and tensors laid out as pictures.

Imports of codecs: contract, coders.
"""
