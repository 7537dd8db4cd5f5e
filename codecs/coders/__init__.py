"""Lossless entropy coders for integer symbols."""
