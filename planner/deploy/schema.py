"""plan.yaml: what a plan says of itself. Types and checks only; `planner.deploy.plan` runs it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.pictures.quant_tables import QuantTables
from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.cost import Cost, LatencyInterval, Symbols
from splitpoint.planner.deploy.file_names import CODEC, HEAD, RUNNING, TAIL, is_content, is_plan_file
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine.machine import Machine
from splitpoint.profiles.network.inputs import InputSpec

__all__ = [
    "FORMAT",
    "Alternative",
    "Answer",
    "CodecChoice",
    "CutChoice",
    "IOTensor",
    "Kind",
    "ModelSource",
    "PayloadRange",
    "Placement",
    "PlanFile",
    "PointFile",
    "PolicyRow",
    "ProfileSource",
    "SearchReport",
    "check_format",
]


def __dir__() -> list[str]:
    return __all__


FORMAT = "5.3"
_PICTURE_RATES = {name: codec.rates for name, codec in PICTURES.items()}
_WEIGHTED = frozenset(name for name, codec in PICTURES.items() if codec.weighted)
MOST_ELEMENTS = 1 << 28  # of a tensor

Placement = Literal["split", "device", "server"]
Kind = Literal["device", "input", "split"]  # what is recommended: all on the device, the input sent, or a split


Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Number = Annotated[int, msgspec.Meta(ge=1, le=99_999)]  # of a point
DType = Annotated[str, msgspec.Meta(pattern="^(bool|u?int(8|16|32|64)|float(16|32|64))$")]


class IOTensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tensor at the model's or a partition's edge."""

    name: Name
    shape: tuple[Annotated[int, msgspec.Meta(ge=0, le=MOST_ELEMENTS)], ...]
    dtype: DType

    def __post_init__(self) -> None:
        """Bound the product of the sides."""
        if math.prod(self.shape) > MOST_ELEMENTS:
            raise ValueError(f"a tensor {list(self.shape)} has more than {MOST_ELEMENTS:,} elements")


class ModelSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network the plan was made for."""

    name: str
    source: str
    source_sha256: str
    sha256: str  # of the canonical form
    inputs: tuple[IOTensor, ...]  # what `Plan.head` takes; constant inputs are folded into the network
    outputs: tuple[IOTensor, ...]


class CutChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where it is cut: the tensors that cross, and the node after which they do."""

    tensors: tuple[IOTensor, ...]
    after: str
    layer: str = ""  # what tables call the place; "input" where the input itself is coded
    head_share: float | None = None  # of the network's MACs


class CodecChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the crossing tensors are coded."""

    name: str
    id: Annotated[int, msgspec.Meta(ge=0, le=255)]
    rate: Annotated[int, msgspec.Meta(ge=0, le=255)]
    rate_label: str
    boundary: Literal["symbols", "float32", "channel_symbols", "picture", "none"]
    needs_splitpoint: tuple[Literal["device", "server"], ...]  # sides that cannot do with ONNX Runtime alone
    tables: QuantTables | None = None  # of a picture codec that is fitted to the network


class ProfileSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device, server or link profile by name and content."""

    name: str
    sha256: str


class SearchReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the point was found."""

    seed: int
    trials: int
    evaluations: int
    candidates: int
    objectives: tuple[str, ...]
    notes: tuple[str, ...] = ()  # what was assumed, left out or noticed, a line each
    left_out: Annotated[int, msgspec.Meta(ge=0)] = 0  # codecs, cuts and candidates that were not searched


class Alternative(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The best point of another kind than the answer's, and its price beside the answer."""

    kind: Kind
    place: str  # "all on device", "send picture", "after blocks.3"
    codec: str
    rate: str
    number: int | None  # on the front, from 1
    price: str  # "2.4x faster, 6 kB more"
    gain: float | None  # of the answer over it in the preferred quantity, in SI units; None: it misses a limit
    uncertainty: float | None  # standard uncertainty of the gain
    faster_share: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None  # of draws in which the answer is faster
    payload_bytes: float
    latency_s: float | None  # None: it never arrives
    value: float  # quality
    misses: tuple[str, ...]  # "latency by 4 ms"


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which kind of answer was recommended, why, and what the others would cost."""

    number: int  # the recommended point on the front, from 1
    kind: Kind
    prefer: str  # what it is best in
    reason: str
    instead: tuple[Alternative, ...]
    not_certain: str | None = None  # the deadline that its latency's interval contains, and what to measure


class PointFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """points/N/point.yaml: one point of the front, enough to export it without searching again."""

    number: Number
    variant: str
    placement: Placement
    cut: CutChoice | None
    codec: CodecChoice
    predicted: Cost
    search: Accuracy

    def __post_init__(self) -> None:
        """Refuse a placement that the rest contradicts; msgspec adds the place in the file."""
        _check_placement(self.placement, self.cut, self.codec, self.predicted.symbols)


class PayloadRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lengths of payloads in bytes: what 95 % of them do not exceed (nearest rank), and the longest that was seen."""

    clean_p95_bytes: Annotated[int, msgspec.Meta(ge=0)]
    clean_max_bytes: Annotated[int, msgspec.Meta(ge=0)]
    corrupted_p95_bytes: Annotated[int, msgspec.Meta(ge=0)]
    corrupted_max_bytes: Annotated[int, msgspec.Meta(ge=0)]
    n: Annotated[int, msgspec.Meta(ge=1)]  # clean inputs
    corruptions: tuple[str, ...]
    corrupted_n: Annotated[int, msgspec.Meta(ge=1)]  # inputs to which each corruption was applied
    refused: Annotated[int, msgspec.Meta(ge=0)] = 0  # corrupted inputs, counted, for which the head gives no payload

    def __post_init__(self) -> None:
        """95 % of the lengths are at most the longest."""
        for kind in ("clean", "corrupted"):
            p95, longest = (getattr(self, f"{kind}_{name}_bytes") for name in ("p95", "max"))
            if p95 > longest:
                raise ValueError(f"{kind}_p95_bytes {p95} is above {kind}_max_bytes {longest}")


class PolicyRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What would be recommended from one mean uplink rate to another; the rate `to_bit_s` belongs to the next row."""

    from_bit_s: Annotated[float, msgspec.Meta(gt=0)]
    to_bit_s: Annotated[float, msgspec.Meta(gt=0)]
    number: Number | None  # of the point on the front; None: nothing fits, or a point that wins at other rates only
    what: str | None  # "after blocks.10, kltq-rans q6"; None: nothing meets every limit


class PlanFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of plan.yaml."""

    format: str
    created_by: str
    created: str
    point: Number  # on the front, 1 first
    placement: Placement
    variant: str
    files: dict[str, Sha256]  # name -> SHA-256, of every file that verify and run read
    contents: dict[str, Sha256] = {}  # every other file of the directory, by its path -> SHA-256
    external: dict[str, str] = {}  # files of `files` that are not stored here (--no-data) -> where they came from
    model: ModelSource
    input: InputSpec
    task: Task
    metric: MetricUse
    cut: CutChoice | None
    codec: CodecChoice
    predicted: Cost
    latency_interval: LatencyInterval | None = None  # of the mean, 90 %; None: nothing of it is modelled
    search: Accuracy
    report: Accuracy | None
    payload_range: PayloadRange | None = None  # on the report inputs
    skipped: Annotated[int, msgspec.Meta(ge=0)] = 0  # damaged pictures that were left out of the data
    answer: Answer | None = None  # None: a plan that was written without a choice
    policy: tuple[PolicyRow, ...] = ()  # by uplink rate, without a gap; (): a link that carries nothing
    requirements: Requirements
    found_by: SearchReport
    device: ProfileSource
    server: ProfileSource
    link: ProfileSource
    profile_sha256: str
    planned_on: Machine
    profiled_on: Machine
    versions: dict[str, str]

    def __post_init__(self) -> None:
        """Refuse a plan that contradicts itself; msgspec adds the place in the file."""
        _check_placement(self.placement, self.cut, self.codec, self.predicted.symbols)
        _check_files(self)
        _check_tensors(self)
        _check_policy(self.policy)


def _check_placement(placement: Placement, cut: CutChoice | None, codec: CodecChoice, symbols: Symbols | None) -> None:
    """A split has a cut, and nothing else has; only a picture that is sent has a picture codec."""
    if (placement == "split") != (cut is not None):
        raise ValueError(f"placement {placement!r} with{'out' if cut is None else ''} a cut")
    kinds = {"device": ("none",), "server": ("picture",), "split": ("symbols", "float32", "channel_symbols")}
    if codec.boundary not in kinds[placement]:
        raise ValueError(f"placement {placement!r} with a codec whose boundary is {codec.boundary!r}")
    if (symbols is not None) != (codec.boundary == "channel_symbols"):
        count = "no" if symbols is None else symbols.count
        raise ValueError(f"{count} channel symbols with a codec whose boundary is {codec.boundary!r}")
    if placement == "server" and codec.rate >= len(_PICTURE_RATES.get(codec.name, ())):
        raise ValueError(f"no picture codec {codec.name!r} with a rate {codec.rate}")
    if (codec.name in _WEIGHTED) != (codec.tables is not None):
        raise ValueError(f"codec {codec.name!r} with{'out' if codec.tables is None else ''} quantization tables")
    if cut is not None and not (cut.tensors and all(0 not in tensor.shape for tensor in cut.tensors)):
        raise ValueError("a cut where nothing crosses")


def _check_files(file: PlanFile) -> None:
    """Names are those of a plan directory, and the files that run are the placement's."""
    strange = [name for name in file.files if not is_plan_file(name)]
    strange += [name for name in file.contents if not is_content(name)]
    strange += [name for name in file.external if name not in file.files]
    if strange:
        raise ValueError(f"{strange[0]!r} is no file of a plan directory")
    needed = {"device": {HEAD, CODEC}, "server": {TAIL}, "split": {TAIL, CODEC}}[file.placement]
    allowed = needed | {HEAD} if file.placement == "split" else needed
    running = {name for name in RUNNING if name in file.files}
    if not needed <= running <= allowed:
        raise ValueError(f"placement {file.placement!r} with the files {', '.join(sorted(running)) or 'none'}")


def _check_tensors(file: PlanFile) -> None:
    """Inputs and outputs have different names and values; the task reads outputs that there are."""
    model = file.model
    for what, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        names = [tensor.name for tensor in tensors]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a model with {'no' if not names else 'equal names of'} {what}")
    if any(0 in tensor.shape for tensor in model.inputs):
        raise ValueError("an input without elements")
    _check_known(file.task.outputs, model.outputs)
    if file.input.kind != "tensors" and len(model.inputs) > 1:
        raise ValueError(f"one input of kind {file.input.kind!r} for a model of {len(model.inputs)}")
    if file.placement == "server" and file.input.kind != "image":
        raise ValueError(f"a picture is sent to a model whose input is a {file.input.kind}")


def _check_policy(rows: Sequence[PolicyRow]) -> None:
    """Each row begins where the one before it ends."""
    if any(not row.from_bit_s < row.to_bit_s for row in rows):
        raise ValueError("a policy with a row that ends before it begins")
    if any(after.from_bit_s != before.to_bit_s for before, after in itertools.pairwise(rows)):
        raise ValueError("a policy with a gap between two rows")


def _check_known(names: Sequence[str], outputs: Sequence[IOTensor]) -> None:
    unknown = [name for name in names if name not in {tensor.name for tensor in outputs}]
    if unknown:
        raise ValueError(f"the task reads the output {unknown[0]!r}, which the model does not have")


def check_format(found: str, *, at: str) -> None:
    """Refuse another major version and a newer minor one; raises `ProfileError`."""
    mine = tuple(int(part) for part in FORMAT.split("."))
    try:
        major, minor = (int(part) for part in found.split("."))
    except ValueError:
        raise ProfileError(f"expected a plan format such as {FORMAT!r}, got {found!r}", at=f"{at}: $.format") from None
    if major != mine[0] or minor > mine[1]:
        age = "a newer" if (major, minor) > mine else "an older"
        raise ProfileError(
            f"written by {age} splitpoint: plan format {found}, this one reads {mine[0]}.0 to {FORMAT}",
            at=f"{at}: $.format",
            fix="use the splitpoint version named in created_by, or plan again",
        )
