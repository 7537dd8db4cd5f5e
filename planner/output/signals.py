"""Signals that end a command raise a `KeyboardInterrupt`, so that what is unfinished is removed as after Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

__all__ = ["SignalError", "stop_on_signals"]


def __dir__() -> list[str]:
    return __all__


NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
USUAL = (signal.SIG_DFL, signal.default_int_handler)
AGAIN_S = 0.1
PAUSE_S = 2.0  # repeated signals in it do not interrupt the removal of what is unfinished


class SignalError(KeyboardInterrupt):
    """A signal asked the command to end.

    No plain `KeyboardInterrupt`: where that passes through ``exec`` of a text, as when a module with dataclasses is
    imported, ``python -m`` ends itself by SIGINT at last, in place of the exit code that `sys.exit` got.
    """


@contextlib.contextmanager
def stop_on_signals() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise `SignalError` within the block.

    A signal that is ignored (nohup, a job in the background) or that somebody else handles keeps its handler. Other
    threads than the main one cannot handle signals: nothing happens there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    last_s = -PAUSE_S
    again: list[threading.Timer] = []

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= PAUSE_S:
            last_s = time.monotonic()
            raise SignalError(number)

    def unraisable(report: sys.UnraisableHookArgs) -> None:
        """A signal in a callback of C code or in ``__del__``, which Python drops, comes again a moment later."""
        nonlocal last_s
        if not isinstance(report.exc_value, SignalError):
            hook(report)
            return
        last_s = -PAUSE_S
        (number,) = report.exc_value.args
        again.append(threading.Timer(AGAIN_S, signal.pthread_kill, (threading.get_ident(), number)))
        again[-1].start()

    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) in USUAL}
    hook, sys.unraisablehook = sys.unraisablehook, unraisable
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for timer in again:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
