"""A coder whose stored shape is as large as is allowed does not let a short payload take its memory or its time."""

from __future__ import annotations

import dataclasses
import math
import resource
import subprocess
import sys
import time

import numpy as np

from splitpoint.codecs.contract.protocol import CodecError, PayloadError, TensorSpec
from splitpoint.codecs.store import MAX_ELEMENTS
from splitpoint.tests.fuzz.test_fuzz_codec_files import PRESETS, subject_of
from splitpoint.tests.fuzz.test_fuzz_presets import fitted

MOST_BYTES = 200 << 20  # of memory that decoding touches; the tensor itself would take a gigabyte
SECONDS = 120  # generous: only a hang is longer


def enlarged(spec: TensorSpec) -> TensorSpec:
    """The symbols' spec with `MAX_ELEMENTS` elements in as many channels."""
    if spec.side:
        return spec
    last = max(axis for axis in range(len(spec.shape)) if axis != spec.channel_axis)
    others = math.prod(spec.shape) // spec.shape[last]
    shape = tuple(MAX_ELEMENTS // others if axis == last else n for axis, n in enumerate(spec.shape))
    return dataclasses.replace(spec, shape=shape)


def attack() -> None:
    """Decode short payloads with every coder at the largest shape; raises when memory or time is taken."""
    payloads = [bytes(600), b"\xff" * 600, np.random.default_rng(0).bytes(600)]
    refused = []
    for name in PRESETS:
        coder = fitted(PRESETS[name])[0].coder
        coder.decode(subject_of(name)[2])  # compiles what is compiled
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()
        try:
            large = type(coder).from_arrays(tuple(map(enlarged, coder.specs)), coder.arrays())  # type: ignore[attr-defined]
        except CodecError:
            refused.append(name)  # no picture is that large
            continue
        for payload in (*payloads, subject_of(name)[2]):
            try:
                large.decode(payload)
            except PayloadError:
                continue
            raise AssertionError(f"{name} accepted {len(payload)} bytes for {MAX_ELEMENTS} symbols")
        touched = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        assert touched < MOST_BYTES, f"{name} touched {touched} bytes"
        assert time.monotonic() - started < SECONDS, name
    assert refused == ["tile-png", "lossy-tile-jpeg"]


def test_short_payloads_of_large_shapes_are_refused_before_memory_is_touched() -> None:
    code = "from splitpoint.tests.codecs.test_large_shapes import attack; attack(); print('bounded')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout.strip() == "bounded", done.stderr[-2000:]
