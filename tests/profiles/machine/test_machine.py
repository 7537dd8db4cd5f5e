"""The machine's description and what its fingerprint depends on."""

from __future__ import annotations

import msgspec
import pytest

from splitpoint.profiles.files import structs
from splitpoint.profiles.machine.machine import Machine, differences, this_machine


def test_this_machine_is_complete_and_survives_a_file() -> None:
    machine = this_machine(threads=2)
    assert "" not in (machine.cpu, machine.arch, machine.onnxruntime)
    assert 1 <= machine.physical_cores <= machine.logical_cpus
    assert structs.decode_yaml(structs.dump_yaml(machine), Machine, where="m.yaml") == machine


@pytest.mark.parametrize(
    ("field", "value", "same"),
    [
        ("cpu", "another", False),
        ("onnxruntime", "0.1", False),
        ("threads", 3, False),
        ("provider", "CUDAExecutionProvider", False),
        ("precision", "int8", False),
        ("python", "4.0", True),
        ("numpy", "9.9", True),
        ("os", "Plan 9", True),
    ],
)
def test_fingerprint_changes_with_what_changes_seconds(field: str, value: object, same: bool) -> None:
    machine = this_machine(threads=2, runtime_version="1.31.1")
    other = msgspec.structs.replace(machine, **{field: value})
    assert (other.fingerprint == machine.fingerprint) is same
    assert (differences(machine, other) == []) is same
    assert len(machine.fingerprint) == 12


def test_differences_are_named() -> None:
    machine = this_machine(threads=2, runtime_version="1.31.1")
    other = msgspec.structs.replace(machine, threads=4, precision="int8")
    assert differences(machine, other) == ["threads 2, not 4", "precision fp32, not int8"]
