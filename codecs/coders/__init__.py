"""Lossless entropy coders for integer symbols.

Imports of codecs: contract.
"""
