"""The machine of a measurement, and the short fingerprint that tells whether two measurements can be compared."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Annotated

import msgspec

from splitpoint.profiles.errors import ProfileError

__all__ = ["MOST_THREADS", "Machine", "Threads", "check_settings", "differences", "onnxruntime_version", "this_machine"]


def __dir__() -> list[str]:
    return __all__


_FINGERPRINT_DIGITS = 12  # of a SHA-256 in hexadecimal: 48 bits, enough to tell machines apart, short enough to print

_COMPARED = {
    "cpu": "processor",
    "onnxruntime": "ONNX Runtime",
    "threads": "threads",
    "provider": "execution provider",
    "precision": "precision",
}

MOST_THREADS = 1024  # of ONNX Runtime: more than any host has cores; with 100,000 its pool of threads crashes
Threads = Annotated[int, msgspec.Meta(ge=1, le=MOST_THREADS)]
Cores = Annotated[int, msgspec.Meta(ge=1, le=2**16)]


class Machine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hardware, system and runtime settings of a measurement."""

    cpu: str  # its model
    physical_cores: Cores  # without hyper-threads
    logical_cpus: Cores  # with hyper-threads
    arch: str  # of instructions: "x86_64", "aarch64"
    os: str  # name and release
    python: str  # version
    numpy: str  # version
    onnxruntime: str  # version
    provider: str  # ORT execution provider
    threads: Threads  # of one inference
    precision: str  # of weights and activations
    optimization: str  # ORT graph optimization level

    @property
    def fingerprint(self) -> str:
        """What must be equal for seconds to be comparable: CPU, ORT version, threads, provider, precision."""
        parts = [str(getattr(self, field)) for field in _COMPARED]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_FINGERPRINT_DIGITS]


def differences(measured: Machine, wanted: Machine) -> list[str]:
    """Why seconds of `measured` do not hold for `wanted`, such as "threads 4, not 2"; empty when they compare."""
    return [
        f"{name} {getattr(measured, field)}, not {getattr(wanted, field)}"
        for field, name in _COMPARED.items()
        if getattr(measured, field) != getattr(wanted, field)
    ]


def check_settings(measured: Machine, wanted: Machine, *, what: str, at: str) -> None:
    """Refuse seconds of one processor for other threads, another provider or precision; raises `ProfileError`.

    Two processors are not compared: there the planner models instead.
    """
    settings = [text for text in differences(measured, wanted) if not text.startswith("ONNX Runtime ")]
    if measured.cpu == wanted.cpu and settings:
        raise ProfileError(
            f"{what} does not hold here: it was measured with {' and '.join(settings)}",
            at=at,
            fix=f"measure it again with --threads {wanted.threads}, or use {measured.threads} threads everywhere",
        )


def this_machine(
    *,
    threads: int,
    provider: str = "CPUExecutionProvider",
    precision: str = "fp32",
    runtime_version: str | None = None,
    optimization: str = "ORT_ENABLE_ALL",
) -> Machine:
    """The machine this process runs on; `runtime_version` defaults to the installed onnxruntime's."""
    logical = os.cpu_count() or 1
    return Machine(
        cpu=_cpu_model(),
        physical_cores=_physical_cores() or logical,
        logical_cpus=logical,
        arch=platform.machine(),
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        numpy=importlib.metadata.version("numpy"),
        onnxruntime=onnxruntime_version() if runtime_version is None else runtime_version,
        provider=provider,
        threads=threads,
        precision=precision,
        optimization=optimization,
    )


# Each of these wheels is the package onnxruntime, with other execution providers.
_RUNTIME_WHEELS = (
    *("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-qnn", "onnxruntime-directml"),
    *("onnxruntime-rocm", "onnxruntime-migraphx", "onnxruntime-silicon"),
)


def onnxruntime_version() -> str:
    """The version of the installed ONNX Runtime, whatever its wheel is called; importing it would take longer."""
    for wheel in _RUNTIME_WHEELS:
        try:
            return importlib.metadata.version(wheel)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise ProfileError("ONNX Runtime is not installed", fix="python -m pip install onnxruntime")


def _cpu_model() -> str:
    """What the system calls its processor; boards with a device tree (Raspberry Pi, Jetson) name the board too."""
    names = [_board(), _cpuinfo_model() or _darwin_model() or platform.processor() or platform.machine()]
    return " / ".join(name for name in names if name)


def _board() -> str:
    path = Path("/proc/device-tree/model")
    return path.read_bytes().rstrip(b"\0").decode(errors="replace").strip() if path.is_file() else ""


def _cpuinfo_model() -> str:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return ""
    pairs = [line.partition(":")[::2] for line in path.read_text(errors="replace").splitlines() if ":" in line]
    fields = {key.strip().lower(): value.strip() for key, value in pairs}
    if "model name" in fields:
        return fields["model name"]
    if "cpu part" in fields:  # Arm gives numbers only: implementer 0x41 part 0xd08 is a Cortex-A72
        return f"{fields.get('cpu implementer', '')} {fields['cpu part']}".strip()
    return ""


def _darwin_model() -> str:
    if platform.system() != "Darwin":
        return ""
    command = ["sysctl", "-n", "machdep.cpu.brand_string"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _physical_cores() -> int:
    """Distinct (package, core) pairs, or 0 where the system does not list them."""
    cores = set()
    for topology in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology"):
        package, core = topology / "physical_package_id", topology / "core_id"
        if package.is_file() and core.is_file():
            # Arm clusters repeat core ids within a package; core_cpus lists the threads of one core.
            threads = topology / "core_cpus"
            siblings = threads.read_text().strip() if threads.is_file() else ""
            cores.add((package.read_text().strip(), core.read_text().strip(), siblings))
    return len(cores)
