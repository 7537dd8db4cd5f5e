"""Gradient descent that can be killed at any moment and continued with equal bits.

What is trained is a torch module; what it is trained for is a function from the number of a step to the terms of its
loss, which takes its batch by that number (`planner.training.batches`). torch is imported inside functions.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from splitpoint.planner.training.checkpoint import read_checkpoint, write_checkpoint
from splitpoint.planner.training.precision import training_device
from splitpoint.planner.training.recipe import Recipe, learning_rate
from splitpoint.planner.values.progress import time_left_text
from splitpoint.profiles.errors import ProfileError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

__all__ = ["Loss", "Trained", "measure_evaluation_s", "measure_step_s", "train"]


def __dir__() -> list[str]:
    return __all__


Loss = Callable[[int], Mapping[str, "Tensor"]]  # number of a step -> terms of its loss by name, weighted
SAVED_EVERY_S: Final = 30.0
LEAST: Final = 3  # steps that are timed
SHOWN: Final = 0.98  # the loss that is shown is an average that forgets: the weight of what was before


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What became of a training; the module has the weights."""

    steps: int  # that were taken, early stop included
    best_step: int  # after which the weights were taken
    losses: Mapping[str, float]  # by term, averaged over the last steps
    values: tuple[tuple[int, float], ...]  # steps taken, and what `evaluate` gave then
    resumed_at: int | None = None  # step at which a checkpoint was continued


@dataclasses.dataclass(kw_only=True, slots=True)
class _State:
    step: int = 0
    losses: dict[str, float] = dataclasses.field(default_factory=dict)
    values: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    best: dict[str, Any] | None = None  # weights
    best_step: int = 0

    @property
    def best_value(self) -> float:
        return min((value for _, value in self.values), default=math.inf)

    def has_stopped(self, recipe: Recipe) -> bool:
        since = sum(step > self.best_step for step, _ in self.values)
        return self.step >= recipe.steps or bool(recipe.patience and since >= recipe.patience)


def train(
    module: nn.Module,
    loss: Loss,
    recipe: Recipe,
    *,
    key: str = "",
    checkpoint: Path | None = None,
    evaluate: Callable[[], float] | None = None,
    metric: str = "value",
    report: Callable[[str], None] = lambda text: None,
) -> Trained:
    """Train the parameters of `module` that require gradients, in place, on CUDA where it is there.

    `loss` gives the terms of a step; their sum is minimized. `evaluate` gives what is to be low on the search set, and
    `metric` is its name: it is asked every `recipe.evaluate_every` steps and at the end, and the module ends with the
    weights for which it was lowest.
    With `checkpoint` the state is written there every 30 s and at the end, and read from there when it is of the same
    `key`. `report` takes a text after every step.

    Raises `ProfileError` when the loss or a gradient is not finite, with the step and the last good checkpoint.
    """
    module.to(training_device())
    optimizer, state = _optimizer(module, recipe), _State()
    stored = None if checkpoint is None else read_checkpoint(checkpoint, key)
    if stored is not None:
        module.load_state_dict(stored["module"])
        optimizer.load_state_dict(stored["optimizer"])
        state = _State(**stored["progress"])
    begun = saved = time.monotonic()
    first, written = state.step, state.step if stored is not None else None
    while not state.has_stopped(recipe):
        terms = _take_step(module, loss, optimizer, recipe, state.step, checkpoint if written is not None else None)
        state.step += 1
        for name, value in terms.items():
            state.losses[name] = SHOWN * state.losses.get(name, value) + (1 - SHOWN) * value
        if evaluate is not None and recipe.is_evaluated(state.step):
            with _own_random_numbers(recipe.seed, state.step):
                _keep_best(module, state, _evaluated(module, evaluate))
        if checkpoint is not None and time.monotonic() >= saved + SAVED_EVERY_S:
            _save(checkpoint, key, module, optimizer, state)
            saved, written = time.monotonic(), state.step
        report(_progress(state, recipe, (time.monotonic() - begun) / (state.step - first), metric))
    if checkpoint is not None and written != state.step:
        _save(checkpoint, key, module, optimizer, state)
    if state.best is not None:
        module.load_state_dict(state.best)
    module.to("cpu")
    return Trained(
        steps=state.step,
        best_step=state.step if state.best is None else state.best_step,
        losses=state.losses,
        values=tuple((step, value) for step, value in state.values),
        resumed_at=None if stored is None else first,
    )


def measure_step_s(module: nn.Module, loss: Loss, recipe: Recipe, seconds: float) -> float:
    """Seconds of a step, measured for `seconds` and at least `LEAST` steps after the first; `module` stays as it is.

    The median, so that one pause of the machine does not count.
    """
    module.to(training_device())
    weights = copy.deepcopy(module.state_dict())
    optimizer, times = _optimizer(module, recipe), list[float]()
    end = math.inf
    while len(times) < LEAST + 1 or time.monotonic() < end:
        begin = time.monotonic()
        _take_step(module, loss, optimizer, recipe, len(times), None)
        times.append(time.monotonic() - begin)
        if len(times) == 1:
            end = time.monotonic() + seconds
    module.load_state_dict(weights)
    module.zero_grad(set_to_none=True)
    module.to("cpu")
    ordered = sorted(times[1:])
    return ordered[len(ordered) // 2]


def measure_evaluation_s(module: nn.Module, evaluate: Callable[[], float], recipe: Recipe) -> float:
    """Seconds of one evaluation; `module` stays as it is."""
    module.to(training_device())
    begin = time.monotonic()
    with _own_random_numbers(recipe.seed, 0):
        _evaluated(module, evaluate)
    seconds = time.monotonic() - begin
    module.to("cpu")
    return seconds


def _optimizer(module: nn.Module, recipe: Recipe) -> Optimizer:
    import torch

    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError("no parameter of the module requires a gradient")
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},  # biases, normalization
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.peak, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=recipe.peak)


def _take_step(
    module: nn.Module, loss: Loss, optimizer: Optimizer, recipe: Recipe, step: int, checkpoint: Path | None
) -> dict[str, float]:
    """One step of gradient descent; the terms of its loss."""
    import torch

    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe, step)
    with _own_random_numbers(recipe.seed, step):
        terms = loss(step)
        total: Any = sum(terms.values())
        optimizer.zero_grad(set_to_none=True)
        total.backward()
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(trained, math.inf if recipe.clip is None else recipe.clip)
    values = {name: float(term.detach()) for name, term in terms.items()}
    if not (math.isfinite(sum(values.values())) and math.isfinite(float(norm))):
        raise _not_finite(values, float(norm), step, checkpoint)
    optimizer.step()
    return values


@contextlib.contextmanager
def _own_random_numbers(seed: int, step: int) -> Iterator[None]:
    """torch's random numbers (dropout, noise) depend on seed and step, and the caller's stay as they are."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed((seed << 32) + step)
        yield


def _evaluated(module: nn.Module, evaluate: Callable[[], float]) -> float:
    import torch

    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    with torch.no_grad():
        value = evaluate()
    for part, training in modes:
        part.training = training
    return float(value)


def _keep_best(module: nn.Module, state: _State, value: float) -> None:
    if value < state.best_value:
        state.best, state.best_step = copy.deepcopy(module.state_dict()), state.step
    state.values.append((state.step, value))


def _save(path: Path, key: str, module: nn.Module, optimizer: Optimizer, state: _State) -> None:
    progress = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    write_checkpoint(
        path, key, {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "progress": progress}
    )


def _progress(state: _State, recipe: Recipe, step_s: float, metric: str) -> str:
    """Loss, the last value, and the time left: "loss 0.412, top-1 0.583, 4 min left, step 120 of 900".

    What a narrow terminal cuts off is at the end.
    """
    parts = [f"loss {sum(state.losses.values()):.3g}"]
    parts += [f"{metric} {state.values[-1][1]:.3f}"] if state.values else []
    left = time_left_text(step_s * (recipe.steps - state.step))
    return ", ".join([*parts, left, f"step {state.step:,} of {recipe.steps:,}"])


def _not_finite(values: Mapping[str, float], norm: float, step: int, checkpoint: Path | None) -> ProfileError:
    wrong = [f"{name} {value}" for name, value in values.items() if not math.isfinite(value)]
    what = ", ".join(wrong) if wrong else f"norm of the gradients {norm}"
    good = "nothing was kept" if checkpoint is None else f"the last good state is in {checkpoint}"
    return ProfileError(
        f"the loss of batch {step} is not finite ({what}); {good}",
        fix="lower the learning rate, or look at the inputs of that batch",
    )
