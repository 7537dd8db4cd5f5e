"""Variants in a plan directory: the networks of the front's points, and the given network's outputs.

A plan whose network is not the given one holds ``reference.npz``, the given network's outputs on the report inputs, so
that verify can measure quality against them. A front of several networks keeps each in ``variants/N/``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.codecs.npz import npz_bytes
from splitpoint.planner.deploy.file_names import HEAD, REFERENCE, REPORT, VARIANT, VARIANTS, WHOLE
from splitpoint.planner.deploy.schema import IOTensor, ModelSource
from splitpoint.planner.deploy.stored import StoredPlan
from splitpoint.planner.measuring.network import Network
from splitpoint.planner.plandir.report import report_bytes
from splitpoint.planner.plandir.running_files import device_files
from splitpoint.planner.samples.dataset import NetworkInputs
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import dump_yaml
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.model import ModelGraph, Tensor
from splitpoint.profiles.network.runtime import open_session

__all__ = [
    "VariantFile",
    "io_tensor",
    "model_source",
    "reference_bytes",
    "stored_variant",
    "stored_variants",
    "variant_files",
]


def __dir__() -> list[str]:
    return __all__


class VariantFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """variants/N/variant.yaml: one network of the front; beside it whole.onnx and its report inputs."""

    name: str
    model: ModelSource
    input: InputSpec


def model_source(graph: ModelGraph) -> ModelSource:
    """What plan.yaml says of a network."""
    return ModelSource(
        name=graph.name,
        source=graph.source,
        source_sha256=graph.source_sha256,
        sha256=graph.sha256,
        inputs=tuple(io_tensor(tensor) for tensor in graph.inputs),
        outputs=tuple(io_tensor(tensor) for tensor in graph.outputs),
    )


def variant_files(network: Network, reference: bytes | None) -> dict[str, bytes]:
    """The variant's network, its report inputs and, for another than the given one, the given one's outputs."""
    files = {WHOLE: device_files(network.graph)[HEAD], REPORT: report_bytes(network.variant.split.report)}
    return files if reference is None else files | {REFERENCE: reference}


def reference_bytes(given: Network) -> bytes:
    """The bytes of reference.npz: arrays out0, out1, ... (N, ...) of the given network's outputs on the report set."""
    graph = given.graph
    session = open_session(device_files(graph)[HEAD], level="all")
    rows = [session.run(graph.feeds(x)) for x in NetworkInputs(given.variant.split.report)]
    return npz_bytes({f"out{i}": _stack([row[t.name] for row in rows]) for i, t in enumerate(graph.outputs)})


def stored_variants(
    networks: Sequence[Network], points: Sequence[Evaluated], reference: bytes | None
) -> dict[str, bytes]:
    """All networks of `points` by path in the plan directory; nothing when all points are of the given network."""
    used = {point.candidate.variant for point in points}
    if used <= {networks[0].name}:
        return {}
    files: dict[str, bytes] = {}
    listed = [network for network in networks if network.name in used]
    for number, network in enumerate(listed, start=1):
        own = variant_files(network, None if network.name == networks[0].name else reference)
        described = VariantFile(
            name=network.variant.name, model=model_source(network.graph), input=network.variant.spec
        )
        own[VARIANT] = dump_yaml(described).encode()
        files |= {f"{VARIANTS}/{number}/{name}": data for name, data in own.items()}
    return files


def stored_variant(stored: StoredPlan, name: str) -> tuple[str, VariantFile]:
    """The folder of the variant called `name`, with a slash behind it, and what it says.

    Raises `ProfileError` when there is none.
    """
    for path in sorted(path for path in stored.file.contents if path.endswith(f"/{VARIANT}")):
        found = stored.read_struct(path, VariantFile)
        if found.name == name:
            return path.removesuffix(VARIANT), found
    raise ProfileError(f"no variant {name!r} in this plan", at=stored.at(VARIANTS), fix="plan again")


def _stack(rows: Sequence[Array]) -> Array:
    if len({row.shape for row in rows}) > 1:
        raise ProfileError("outputs whose size depends on the input cannot be compared between variants")
    return np.stack(rows)


def io_tensor(tensor: Tensor) -> IOTensor:
    """What plan.yaml says of a tensor."""
    return IOTensor(name=tensor.name, shape=tensor.shape, dtype=tensor.dtype)
