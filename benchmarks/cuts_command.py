"""Seconds and peak memory of ``splitpoint cuts`` on a ResNet-50 of 102 MB, and seconds of ``from splitpoint import Plan``.

Processes of this tree and of another one (``--against``, the parent folder of a package `splitpoint`, for instance an
older checkout) take turns, so that a change of the machine's speed meets both. The ratio of each pair is stored.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import splitpoint
from splitpoint.benchmarks.stored import RESULTS, store

SIDE = 224
BASE = "import numpy, onnxruntime"  # what running a plan needs anyhow
CHILD = (  # ru_maxrss of children is the largest of all of them, so each command has a parent of its own
    "import json, resource, subprocess, sys, time\n"
    "start = time.perf_counter()\n"
    "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode\n"
    "seconds = time.perf_counter() - start\n"
    "print(code, seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
)
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes
