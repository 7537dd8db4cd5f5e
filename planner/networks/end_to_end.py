"""A network trained with a codec in it: head, codec and tail together (Jankowski et al., section 2.4, fourth step).

The codec is trained first behind the head as it is (`planner.coding.codec_training`), then all weights, to answer as
the given network does through noise and lost channels. What comes of it is a network, at whose cut the codec is trained
once more. torch is imported inside functions.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from splitpoint.codecs.contract.protocol import FitError, LossTerm, TrainingCost
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.coding.torch_graph import torch_graph, torch_halves, torch_weights, trained_model
from splitpoint.planner.training.checkpoint import CheckpointError
from splitpoint.planner.training.distill import RECIPE as DISTILLED
from splitpoint.planner.training.distill import distill
from splitpoint.planner.training.spent import Spent
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.model import ModelGraph

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["STAGES", "EndToEndNetwork", "EndToEndTraining"]


def __dir__() -> list[str]:
    return __all__


RECIPE: Final = dataclasses.replace(DISTILLED, peak=0.01)
STAGE: Final = "network"
STAGES: Final = {STAGE: 1.0}  # shares of the minutes


class EndToEndNetwork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network as it is exported after its training, and what that took."""

    model: bytes  # ONNX
    spent: Spent


class EndToEndTraining:
    """Trains a network with a codec at one of its cuts: a `Training` of a `Context`, whose result is the network."""

    def __init__(
        self,
        graph: ModelGraph,
        cut: Cut,
        trainer: Trainer,
        alone: CodecTraining,
        *,
        given: ModelGraph | None = None,
    ) -> None:
        """`alone` trains codecs at the same cut; `given` is the network whose answers are learned, None: `graph`."""
        self._graph, self._cut, self._trainer, self._alone = graph, cut, trainer, alone
        self._given = graph if given is None else given
        self.report: Callable[[str], None] = lambda text: None  # takes a text after each step
        self.made: EndToEndNetwork | None = None  # after the call

    @property
    def key(self) -> str:
        """Of both networks, the cut, data, minutes, recipe and threads."""
        about = (self._graph.sha256, self._given.sha256, self._cut.tensors)
        return self._trainer.key(what="end-to-end", about=about, recipe=RECIPE)

    def asset_key(
        self, module: nn.Module, *, rates: int, losses: Sequence[LossTerm], first: Sequence[LossTerm] = ()
    ) -> str:
        """The key under which the trainer keeps the network that is trained with `module` as it is."""
        alone = self._alone.asset_key(module, rates=rates, losses=losses, first=first)
        return self._trainer.key(what=self.key, codec=alone)

    def check_gradients(self, losses: Sequence[LossTerm]) -> None:
        """Raise `FitError` where torch cannot run the network, or it has more than one answer to learn."""
        if len(self._graph.outputs) != 1:
            raise FitError(f"a network of {len(self._graph.outputs)} outputs is not trained end to end, one of 1 is")
        self._alone.check_gradients((*losses, LossTerm(name="distillation")))

    def __call__(
        self,
        module: nn.Module,
        *,
        rates: int,
        losses: Sequence[LossTerm],
        first: Sequence[LossTerm] = (),
        codec: str = "",
    ) -> TrainingCost:
        """Train `module` at all `rates`, then the network with it; `made` is the network.

        Raises `FitError` and `CheckpointError` as `CodecTraining` does.
        """
        self.check_gradients(losses)
        key = self.asset_key(module, rates=rates, losses=losses, first=first)

        def make() -> EndToEndNetwork:
            self._alone(module, rates=rates, losses=losses, first=first)
            return self._trained(key, module, rates)

        try:
            made, _ = self._trainer.asset(key, make, encode=msgspec.msgpack.encode, decode=_decode)
        except CheckpointError:
            raise  # a full disk is no property of the network
        except ProfileError as error:
            raise FitError(f"at {self._cut.after}: {error.message}") from error
        self.made, spent = made, made.spent
        return TrainingCost(steps=spent.steps, images=spent.images, losses=spent.losses)

    def _trained(self, key: str, module: nn.Module, rates: int) -> EndToEndNetwork:
        head, tail = torch_halves(self._graph, self._cut)
        for half, other in ((head, tail), (tail, head)):
            shared = torch_weights(other)  # a weight of both halves would be trained to two values
            for name, weight in torch_weights(half).items():
                weight.requires_grad_(name not in shared)
        spent = distill(
            _student(head, copy.deepcopy(module), tail, rates),
            torch_graph(self._given),
            self._trainer,
            key=key,
            stage=STAGE,
            recipe=RECIPE,
            report=self.report,
        )
        return EndToEndNetwork(model=trained_model(self._graph, head, tail), spent=spent)


def _student(head: nn.Module, codec: nn.Module, tail: nn.Module, rates: int) -> nn.Module:
    """Inputs (N, ...) -> answers, where each rate has its part of the N."""
    import torch

    class Student(torch.nn.Module):
        """Head, codec and tail."""

        def __init__(self) -> None:
            super().__init__()
            self.head, self.codec, self.tail = head, codec, tail

        def forward(self, x: Tensor) -> Tensor:
            (tensor,) = self.head(x)
            with torch.autocast(tensor.device.type, enabled=False):
                parts = tensor.float().tensor_split(rates)
                copies = torch.cat([self.codec(part, rate) for rate, part in enumerate(parts) if len(part)])
            answers: Tensor = self.tail(copies)[0]
            return answers

    return Student()


def _decode(content: bytes) -> EndToEndNetwork:
    found: Any = msgspec.msgpack.decode(content, type=EndToEndNetwork)
    made: EndToEndNetwork = found
    return made
