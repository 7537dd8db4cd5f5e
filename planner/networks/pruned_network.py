"""One pruned network: filters removed from a copy of the torch module, which may be trained meanwhile, and exported."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from splitpoint.planner.networks.channel_removal import correct_layers, remove_filters
from splitpoint.planner.networks.importance import label_loss, output_loss, taylor_importance
from splitpoint.planner.networks.rounds import Importance, RatioOf, prune_in_rounds
from splitpoint.planner.samples.dataset import Dataset, NetworkInputs
from splitpoint.planner.setup.config import PruneConfig
from splitpoint.planner.training.distill import BETWEEN_ROUNDS, RECIPE, distill
from splitpoint.planner.training.spent import Spent
from splitpoint.planner.training.trainer import Trainer
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.torch_hash import module_sha256
from splitpoint.profiles.network.torch_model import export_module

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["ROUND_SHARES", "PrunedNetwork", "head_modules", "prune_at", "prune_network", "trained_key"]


def __dir__() -> list[str]:
    return __all__


ROUNDS: Final = 4  # 53.5 % top-1 where one round leaves 52.0 % (VGG16 before pool 4, a third of the filters, corrected)
LAST_SHARE: Final = 0.75  # of the training, after the last round: half of the filters lose 4.4 points, with 0.5 5.8
ROUND_SHARES: Final = {
    f"round-{i}": LAST_SHARE if i == ROUNDS - 1 else (1 - LAST_SHARE) / (ROUNDS - 1) for i in range(ROUNDS)
}  # of the minutes, by the name of the stage
Tune = Callable[["nn.Module", int], None]  # trains a network after a round of pruning, in place


class PrunedNetwork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pruned network as it is exported, and what it took."""

    model: bytes  # ONNX
    left: tuple[str, ...]  # what was not pruned, and why
    steps: int = 0  # of training, over all rounds
    images: int = 0  # that were seen, each as often as it was
    minutes: float = 0.0  # of training, on the machine that trained


def prune_network(
    graph: ModelGraph,
    module: nn.Module,
    before: Sequence[str],
    behind: Sequence[str],
    *,
    ratio: float,
    config: PruneConfig,
    calibration: Dataset,
    trainer: Trainer | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> PrunedNetwork:
    """`module` without `ratio` of what its layers `before` are, by the method of `config`; `graph` is its export.

    With a `trainer` a network that is pruned by Taylor's order is trained after every round, or taken from where it was
    kept, and `report` takes a text after every step. Raises `ProfileError` where nothing can be removed.
    """
    import torch

    inputs = torch.from_numpy(np.concatenate(list(NetworkInputs(calibration))))
    importance = _taylor(graph, calibration, inputs) if config.method == "taylor" else None

    def make(tune: Tune | None = None) -> PrunedNetwork:
        thin, left = prune_at(
            module, before, behind, ratio=ratio, calibration=inputs, correct=config.correct,
            importance=importance, ratio_of=config.ratio_of, tune=tune,
        )  # fmt: skip
        if _size(thin) == _size(module):
            raise ProfileError(
                f"no layer has enough filters to remove {ratio:g} of the {config.ratio_of} (a layer of 16 filters and"
                " more keeps a multiple of 8)",
                fix="give a larger ratio",
            )
        return PrunedNetwork(model=export_module(thin, graph.inputs[0].shape, at=graph.source), left=tuple(left))

    key = trained_key(graph, module, before, ratio=ratio, config=config, calibration=calibration, trainer=trainer)
    if trainer is None or key is None:
        return make()
    learning = head_modules(module, before, behind, inputs[:1]) if config.trained == "head" else None
    return _trained(module, make, trainer, key, learning, report)


def trained_key(
    graph: ModelGraph,
    module: nn.Module,
    before: Sequence[str],
    *,
    ratio: float,
    config: PruneConfig,
    calibration: Dataset,
    trainer: Trainer | None,
) -> str | None:
    """The key under which `trainer` keeps what `prune_network` gives; None where nothing is trained."""
    if trainer is None or config.method != "taylor":
        return None
    about = (ratio, config.ratio_of, config.trained, tuple(before), calibration.sha256(), graph.inputs[0].shape)
    return trainer.key(what="pruned", module=module_sha256(module), about=about, rounds=ROUNDS)


def prune_at(
    module: nn.Module,
    before: Sequence[str],
    behind: Sequence[str],
    *,
    ratio: float,
    calibration: torch.Tensor,
    correct: bool,
    importance: Importance | None = None,
    ratio_of: RatioOf = "filters",
    tune: Tune | None = None,
) -> tuple[nn.Module, list[str]]:
    """A copy of `module` with `ratio` of the filters of the layers `before` removed, and what was not pruned and why.

    Without an `importance` each layer loses the same share, those of least L1 norm; with one, all layers' filters
    compete in `ROUNDS`, `ratio` may be that of their multiply-adds, and `tune` trains the network after each. With
    `correct` the layers `behind` the cut are fitted on `calibration` (N, ...), unless all were trained.
    """
    thin = copy.deepcopy(module)
    if importance is None:
        removed, left = remove_filters(thin, before, ratio, calibration[:1])
    else:
        trained = {} if tune is None else {"tune": tune}
        removed, left = prune_in_rounds(
            thin, before, ratio, calibration[:1], rounds=ROUNDS, importance=importance, ratio_of=ratio_of, **trained
        )
    if correct and tune is None:
        correct_layers(thin, module, behind, removed, calibration)
    return thin, left


def _taylor(graph: ModelGraph, calibration: Dataset, inputs: torch.Tensor) -> Importance:
    """First-order importance on the calibration set: of the labels' cross-entropy, or of the outputs without labels."""
    labels = calibration.labels if len(graph.outputs) == 1 else None
    loss = output_loss() if labels is None else label_loss(labels)
    return lambda module, groups: taylor_importance(module, groups, inputs, loss)


def _trained(
    module: nn.Module,
    make: Callable[[Tune], PrunedNetwork],
    trainer: Trainer,
    key: str,
    learning: Collection[str] | None,
    report: Callable[[str], None],
) -> PrunedNetwork:
    """What `make` gives with training after every round, or what was kept of it."""
    spent: list[Spent] = []

    def tune(thin: nn.Module, number: int) -> None:
        for parameter in thin.parameters():
            parameter.requires_grad_(True)
        stage, recipe = f"round-{number}", RECIPE if number == ROUNDS - 1 else BETWEEN_ROUNDS
        spent.append(
            distill(
                thin, module, trainer, key=key, stage=stage, share=ROUND_SHARES[stage], recipe=recipe,
                learning=learning, report=report,
            )
        )  # fmt: skip

    def train() -> PrunedNetwork:
        return msgspec.structs.replace(
            make(tune),
            steps=sum(each.steps for each in spent),
            images=sum(each.images for each in spent),
            minutes=sum(each.minutes for each in spent),
        )

    made: PrunedNetwork
    made, _ = trainer.asset(key, train, encode=msgspec.msgpack.encode, decode=_decode)
    return made


def head_modules(
    module: nn.Module, before: Sequence[str], behind: Sequence[str], example: torch.Tensor
) -> frozenset[str]:
    """Names of the submodules without children that run for `example` (1, ...) before every layer of `behind`.

    Those of `before` are among them. What runs on both sides is not: it stays as the server has it.
    """
    import torch

    order: list[str] = []
    hooks = [
        layer.register_forward_pre_hook(lambda *given, name=name: order.append(name))
        for name, layer in module.named_modules()
        if not list(layer.children())
    ]
    try:
        with torch.no_grad():
            module(example)
    finally:
        for hook in hooks:
            hook.remove()
    first = min((order.index(name) for name in behind if name in order), default=len(order))
    return (frozenset(order[:first]) - frozenset(order[first:])) | frozenset(before)


def _decode(content: bytes) -> PrunedNetwork:
    return msgspec.msgpack.decode(content, type=PrunedNetwork)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
