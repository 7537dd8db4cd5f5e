"""Names in exported graphs that the exporter and the runtime agree on."""

from __future__ import annotations

__all__ = ["codec_prefix"]


def __dir__() -> list[str]:
    return __all__


def codec_prefix(index: int) -> str:
    """The start of every name of the codec of the cut's tensor number `index`, in head and tail."""
    return f"codec{index}/"
