"""What a codec is: the protocols, graphs under construction, and presets put together of parts.

Imports of codecs: nothing.
"""
