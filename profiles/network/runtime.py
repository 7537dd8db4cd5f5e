"""The only home of onnxruntime: sessions with fixed settings, ORT's own graph optimizer, and its profiler.

Every error of ORT leaves here as a `ProfileError` that names the model, and ORT's log stays silent.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as _state

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.scratch import scratch_folder

__all__ = [
    "CPU",
    "Array",
    "IoSpec",
    "Level",
    "Provider",
    "Session",
    "find_provider",
    "open_session",
    "optimize_basic",
    "to_float16",
    "to_int8",
]


def __dir__() -> list[str]:
    return __all__


Array = NDArray[Any]
Level = Literal["all", "basic", "disabled"]

_SUFFIX: Final = "ExecutionProvider"
# ORT's number of threads is that of its own kernels; these providers have threads of their own, set by an option.
_THREADS: Final = {"OpenVINOExecutionProvider": "num_of_threads", "XnnpackExecutionProvider": "intra_op_num_threads"}
LARGE_BYTES: Final = 1 << 10  # initializers of at least this size go to the external file of a saved model

_LEVELS: Final = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_SILENT: Final = 4  # severity "fatal": everything below it also arrives as an exception
_NUMPY: Final = {"float": "float32", "double": "float64"}  # ORT's names that are not numpy's

# ORT's exceptions have no common base below Exception; its Python layer raises ValueError for missing inputs.
_ORT_ERRORS: Final = (
    ValueError,
    RuntimeError,
    _state.EPFail,
    _state.EngineError,
    _state.Fail,
    _state.InvalidArgument,
    _state.InvalidGraph,
    _state.InvalidProtobuf,
    _state.NoModel,
    _state.NoSuchFile,
    _state.NotImplemented,
    _state.RuntimeException,
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """An execution provider with its options, and whether the CPU may run what it cannot.

    ONNX Runtime falls back by itself and in silence: node by node, and as a whole where the provider cannot start.
    Without `cpu_fallback` both are refused (session.disable_cpu_ep_fallback, `get_providers`).
    """

    name: str  # "OpenVINOExecutionProvider"
    options: tuple[tuple[str, str], ...] = ()
    cpu_fallback: bool = False


CPU: Final = Provider(name="CPUExecutionProvider")


def find_provider(name: str, options: Mapping[str, str] | None = None, *, cpu_fallback: bool = False) -> Provider:
    """The provider that the installed ONNX Runtime offers under `name`: "OpenVINOExecutionProvider" or "openvino".

    Raises `ProfileError` with those that it offers.
    """
    offered = ort.get_available_providers()
    words = {provider.removesuffix(_SUFFIX).lower(): provider for provider in offered}
    found = words.get(name.removesuffix(_SUFFIX).lower())
    if found is None:
        raise ProfileError(
            f"ONNX Runtime {ort.__version__} as installed has no execution provider {name!r}",
            fix=f"one of {', '.join(offered)}; others come with their own wheel in place of onnxruntime, such as"
            " onnxruntime-gpu, onnxruntime-openvino or onnxruntime-qnn",
        )
    return Provider(name=found, options=tuple(sorted((options or {}).items())), cpu_fallback=cpu_fallback)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class IoSpec:
    """An input or output of a session; a dimension that is not fixed is None."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str  # a numpy name; for what is not a tensor, ORT's own text


class Session:
    """A loaded model; `run` is safe to call from one thread at a time."""

    def __init__(self, session: ort.InferenceSession, *, name: str, threads: int | None, level: Level) -> None:
        self._session = session
        self.name = name
        self.threads = threads
        self.level = level
        self.inputs = tuple(_spec(arg) for arg in session.get_inputs())
        self.outputs = tuple(_spec(arg) for arg in session.get_outputs())
        self._output_names = [spec.name for spec in self.outputs]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Run once and give every output by name; raises `ProfileError` on a wrong name, shape or type."""
        try:
            values = self._session.run(self._output_names, feeds)
        except _ORT_ERRORS as error:
            expected = ", ".join(f"{spec.name} {spec.dtype} {list(spec.shape)}" for spec in self.inputs)
            given = ", ".join(f"{name} {value.dtype} {list(value.shape)}" for name, value in feeds.items())
            raise ProfileError(
                f"the model cannot run: {_brief(error)}",
                at=self.name,
                fix=f"expected inputs {expected or 'none'}, got {given or 'none'}",
            ) from error
        return dict(zip(self._output_names, values, strict=True))

    def end_profiling(self) -> list[dict[str, Any]]:
        """Stop the profiler (`open_session(profile_to=...)`) and give its events; the file is removed."""
        path = Path(self._session.end_profiling())
        events: list[dict[str, Any]] = json.loads(path.read_text())
        path.unlink()
        return events


def open_session(
    model: bytes | Path,
    *,
    level: Level = "all",
    threads: int | None = None,
    profile_to: Path | None = None,
    optimized_to: Path | None = None,
    name: str | None = None,
    weights: Mapping[str, Array] | None = None,
    prepack: bool = True,
    provider: Provider = CPU,
) -> Session:
    """Load a model from bytes or from its file; `weights` are those that the bytes declare as external data.

    `threads` None means one a core (ORT's default); `profile_to` is the prefix of the profiler's file; `optimized_to`
    receives the graph that ORT really runs, its weights in ``<optimized_to>.data``; `name` is what errors call the
    model; `provider` runs it, alone unless the CPU may help. Without `prepack` weights stay as they are: those laid
    out for speed are missing in the profiler's file.
    Raises `ProfileError`.
    """
    label = name or (str(model) if isinstance(model, Path) else "model in memory")
    options = _options(level=level, threads=threads, optimized_to=optimized_to)
    if optimized_to is not None:
        _keep_weights_apart(options, optimized_to)
    if not prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if profile_to is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_to)
    loaded = _load(model, options, label, weights, provider=provider)
    return Session(loaded, name=label, threads=threads, level=level)


def optimize_basic(
    model: bytes | Path,
    target: Path,
    *,
    weights: Mapping[str, Array] | None = None,
    name: str = "model in memory",
    fold: bool = True,
) -> Session:
    """Write to `target` the model that ORT itself runs at ORT_ENABLE_BASIC; returns the session, which can run it.

    Constants are folded, BatchNorm is merged into Conv, dead nodes are removed. Weights that ORT leaves as they are
    stay in the data file of `model`, to which `target` then refers. With `weights`, those that the bytes `model`
    declare as external data, all of at least `LARGE_BYTES` are written to ``<target>.data``: the result may be above
    2 GB. Without `fold` constants stay as they are: weights stored in fp16 behind a Cast would become fp32.
    ORT writes imports of its own operator sets into the saved model; `profiles.network.canonical` removes those
    not used. Raises `ProfileError` when ORT cannot load the model or the result would not fit protobuf's 2 GB.
    """
    options = _options(level="basic", threads=1, optimized_to=target)
    if weights is not None:
        _keep_weights_apart(options, target)
    # The session runs once at most: laying out weights for speed would take half the time and as much memory again,
    # and an arena grows by doubling.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_cpu_mem_arena = False
    without = () if fold else ("ConstantFolding",)
    return Session(_load(model, options, name, weights, without=without), name=name, threads=1, level="basic")


def to_float16(model: bytes, *, keep: Sequence[str] = (), name: str = "model in memory") -> bytes:
    """The model with fp16 weights and activations but for the nodes `keep`; inputs and outputs keep their types.

    Raises `ProfileError`.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    try:
        changed = convert_float_to_float16(
            onnx.load_model_from_string(model), keep_io_types=True, node_block_list=list(keep) or None
        )
    except _ORT_ERRORS as error:
        raise ProfileError(f"ONNX Runtime cannot convert the model to fp16: {_brief(error)}", at=name) from error
    data: bytes = changed.SerializeToString(deterministic=True)
    return data


def to_int8(
    model: bytes, feeds: Iterable[Mapping[str, Array]], *, keep: Sequence[str] = (), name: str = "model in memory"
) -> bytes:
    """The model in int8 QDQ form but for the nodes `keep`: weights by channel, activations by extremes over `feeds`.

    Both are signed, ORT's first recommendation. Raises `ProfileError`.
    """
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # ORT ships no types
        def __init__(self) -> None:
            self._feeds = iter(feeds)

        def get_next(self) -> dict[str, Array] | None:
            feed = next(self._feeds, None)
            return None if feed is None else dict(feed)

    proto = onnx.load_model_from_string(model)
    # Shapes are inferred and constants folded already; without this mark ORT logs that somebody should.
    proto.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    with scratch_folder() as folder:
        target = folder / "int8.onnx"
        try:
            quantization.quantize_static(
                proto,
                str(target),
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                nodes_to_exclude=list(keep),
                activation_type=quantization.QuantType.QInt8,
                weight_type=quantization.QuantType.QInt8,
            )
        except _ORT_ERRORS as error:
            raise ProfileError(f"ONNX Runtime cannot quantize the model: {_brief(error)}", at=name) from error
        return target.read_bytes()


def _options(*, level: Level, threads: int | None, optimized_to: Path | None = None) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    options.graph_optimization_level = _LEVELS[level]
    options.intra_op_num_threads = threads or os.cpu_count() or 1
    options.inter_op_num_threads = 1
    # Idle workers of one session would spin while another one is timed: stop them at the end of each run.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if optimized_to is not None:
        options.optimized_model_filepath = str(optimized_to)
    return options


def _keep_weights_apart(options: ort.SessionOptions, target: Path) -> None:
    prefix = "session.optimized_model_external_initializers_"
    options.add_session_config_entry(prefix + "file_name", target.name + ".data")
    options.add_session_config_entry(prefix + "min_size_in_bytes", str(LARGE_BYTES))


def _load(
    model: bytes | Path,
    options: ort.SessionOptions,
    name: str,
    weights: Mapping[str, Array] | None = None,
    *,
    without: Sequence[str] = (),
    provider: Provider = CPU,
) -> ort.InferenceSession:
    if weights:
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
    given = dict(provider.options)
    if provider.name in _THREADS:
        given.setdefault(_THREADS[provider.name], str(options.intra_op_num_threads))
    providers: list[str | tuple[str, dict[str, str]]] = [(provider.name, given)]
    if provider.name != CPU.name and provider.cpu_fallback:
        providers.append(CPU.name)
    elif provider.name != CPU.name:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = ort.InferenceSession(
            str(model) if isinstance(model, Path) else model,
            options,
            providers=providers,
            disabled_optimizers=without,
            enable_fallback=0,  # otherwise ORT prints some errors and loads the model a second time
        )
    except _ORT_ERRORS as error:
        if "fallback to CPU EP" in str(error):
            raise _falls_back(provider, name, "cannot run every operator of the model") from error
        fix = "check the file with onnx.checker.check_model, or export it again with opset 17 or newer"
        if provider.name != CPU.name:
            fix = f"check the options of {provider.name} and its driver; the CPU runs what no provider is named for"
        raise ProfileError(f"ONNX Runtime cannot load the model: {_brief(error)}", at=name, fix=fix) from error
    if session.get_providers()[0] != provider.name and not provider.cpu_fallback:
        raise _falls_back(provider, name, "cannot start on this machine")
    return session


def _falls_back(provider: Provider, name: str, why: str) -> ProfileError:
    return ProfileError(
        f"{provider.name} {why}, and the CPU is not allowed to take over",
        at=name,
        fix="allow it (--cpu-fallback, cpu_fallback=True), or use another provider",
    )


def _spec(arg: Any) -> IoSpec:
    text: str = arg.type
    dtype = text.removeprefix("tensor(").removesuffix(")") if text.startswith("tensor(") else text
    shape = tuple(dim if isinstance(dim, int) else None for dim in arg.shape or ())
    return IoSpec(name=arg.name, shape=shape, dtype=str(np.dtype(_NUMPY.get(dtype, dtype))) if _known(dtype) else dtype)


def _known(dtype: str) -> bool:
    return dtype in _NUMPY or dtype in np.sctypeDict


def _brief(error: BaseException) -> str:
    """ORT's message without its prefix, in one line."""
    text = " ".join(str(error).split())
    prefix = "[ONNXRuntimeError] : "
    if text.startswith(prefix):
        text = text.removeprefix(prefix).split(" : ", 2)[-1]
    return text
