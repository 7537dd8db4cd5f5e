"""A codec's own module trained between the head and the tail of a network, which stay as they are.

The cut tensor and the network's answers are computed once, by ONNX Runtime (`planner.coding.activations`). The tail
runs in each step for terms of its answers, as a torch graph of the ONNX model, so ONNX-only networks are no exception.
Each rate of the codec gets its part of every batch: a step costs one run of the tail whatever the number of rates, and
each part is large enough for batch statistics of its own.
torch is imported inside functions.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.protocol import FitError, LossName, LossTerm, TrainingCost
from splitpoint.planner.coding.activations import FOLDER, Activations, Place, activations
from splitpoint.planner.coding.torch_graph import torch_halves
from splitpoint.planner.training.batches import Batches
from splitpoint.planner.training.checkpoint import CheckpointError, from_bytes, to_bytes
from splitpoint.planner.training.data import TrainingSet
from splitpoint.planner.training.loop import Loss
from splitpoint.planner.training.losses import charbonnier, cross_entropy, distillation, l1, mse
from splitpoint.planner.training.precision import fast_products, training_device
from splitpoint.planner.training.recipe import Recipe
from splitpoint.planner.training.spent import Spent, added
from splitpoint.planner.training.trained_files import TrainedCodec
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.keys import content_key
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.model import ModelGraph

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["CodecTraining", "stages"]


def __dir__() -> list[str]:
    return __all__


# A switch after pool 2 of the VGG16 of benchmarks/learned.py, 192,000 pictures, float codes: peaks of 5e-3, 1e-2, 2e-2
# and 4e-2 lost 13.7, 12.8, 12.6, 12.6 points at 90 % and 2.1, 1.9, 1.8, 1.9 at 75 % (cifar100/val). The second leaves a
# margin for other networks. Without the cross-entropy 14.1 and 2.0 against 13.7 and 2.1.
RECIPE: Final = Recipe(steps=0, batch=32, peak=1e-2, clip=None)  # batch: inputs of each rate
# Terms of the tensor alone average over its positions, so that few large maps are a batch: after dark3 of YOLOX-Nano
# (52x52) 2,100 steps of 1 input gave Back-and-Forth prediction a loss of 0.17, as many seconds with batches of 4 0.20.
POSITIONS: Final = 2048  # of each rate's maps in such a batch, where an input has no more
FIRST, STAGE = "first", "codec"  # the trainings of an asset
FIRST_SHARE: Final = 0.2  # of the minutes, where there is something to train for before
OF_THE_TENSOR: Final[Mapping[LossName, Callable[..., Tensor]]] = {
    "mse": mse,
    "l1": l1,
    "charbonnier": charbonnier,
}
WITHOUT_TAIL: Final[frozenset[str]] = frozenset({*OF_THE_TENSOR, "rate"})  # terms that need no answers
JUDGED_TOGETHER: Final = 128  # inputs
_ONE_AT_A_TIME = threading.Lock()  # torch's random numbers and threads are the process's


class CodecTraining:
    """Trains codecs at one cut of one network: the `Training` of a `Context`."""

    def __init__(
        self,
        graph: ModelGraph,
        cut: Cut,
        trainer: Trainer,
        *,
        seed: int = 0,
        judging: TrainingSet | None = None,
    ) -> None:
        """`cut` has one tensor; the weights of least loss on the inputs of `judging` are taken, without it the last."""
        if len(cut.tensors) != 1:
            raise ValueError(f"codecs are trained at cuts of one tensor, not of {len(cut.tensors)}")
        self._graph, self._cut, self._trainer, self._seed = graph, cut, trainer, seed
        self.judging = judging
        self.report: Callable[[str], None] = lambda text: None  # takes a text after each step

    @property
    def key(self) -> str:
        """Of network, cut, data (those that judge, too), minutes, recipe, threads, and of files that are loaded."""
        files, own = self._trainer.files, self._trained_key
        return own if files is None else content_key("loaded", own=own, files=files.sha256())

    @property
    def _trained_key(self) -> str:
        return self._trainer.key(
            what="codec",
            model=self._graph.sha256,
            cut=self._cut.tensors,
            recipe=RECIPE,
            seed=self._seed,
            judging=None if self.judging is None else self.judging.sha256(),
        )

    def asset_key(
        self, module: nn.Module, *, rates: int, losses: Sequence[LossTerm], first: Sequence[LossTerm] = ()
    ) -> str:
        """The key under which the trainer keeps what is trained from `module` as it is."""
        terms = (tuple(first), tuple(losses))
        return self._trainer.key(what=self._trained_key, start=_weights_sha256(module), rates=rates, losses=terms)

    def loaded(self, module: nn.Module, codec: str) -> TrainedCodec | None:
        """What was trained elsewhere for `codec` at this cut, whose weights are now the module's; None: nothing was.

        Raises `FitError` where there is nothing to train on, either, and `ProfileError` for a file that is not for it.
        """
        files, found = self._trainer.files, None
        if files is not None and codec:
            found = files.load(module, codec=codec, model_sha256=self._graph.sha256, tensor=self._cut.tensors[0])
        if isinstance(found, TrainedCodec):
            return found
        if not len(self._trainer.data):
            raise FitError(f"there is nothing to train on ($.train.source), and {found or 'nothing to load'}")
        return None

    def described(self, asset: str, cost: TrainingCost, codec: str) -> TrainedCodec:
        """What `cost` was paid for, as a row of a manifest without its file and the names that people read."""
        files, spent = self._trainer.files, self._trainer.spent(asset)
        if cost.loaded and files is not None:
            return next(row for row in files.codecs if row.name == cost.loaded)
        return TrainedCodec(
            file="",
            sha256="",
            codec=codec,
            rates=(),
            layer=self._cut.layer or self._cut.after,
            tensor=self._cut.tensors[0],
            model_sha256=self._graph.sha256,
            spent=spent or Spent(steps=cost.steps, images=cost.images, minutes=0.0, losses=dict(cost.losses)),
            seed=self._seed,
            trained_on=self._trainer.data_sha256,
        )

    def check_gradients(self, losses: Sequence[LossTerm]) -> None:
        """Raise `FitError` where a term of `losses` needs gradients through a tail that torch cannot run."""
        if all(term.name in WITHOUT_TAIL for term in losses):
            return
        try:
            self.tail  # noqa: B018  # built once, and used by the training
        except ProfileError as error:
            raise FitError(f"{error.message} at {self._cut.after}; codecs that need no gradients take part") from error

    def __call__(
        self,
        module: nn.Module,
        *,
        rates: int,
        losses: Sequence[LossTerm],
        first: Sequence[LossTerm] = (),
        codec: str = "",
    ) -> TrainingCost:
        """Train `module` in place at all `rates`, or load what was trained elsewhere for `codec`.

        Raises `FitError` where torch cannot run the network or train it, or there is nothing to train on,
        `ProfileError` where what was trained elsewhere is not for such a codec, and `CheckpointError` where checkpoints
        cannot be written.
        """
        import torch

        row = self.loaded(module, codec)
        if row is not None:
            return TrainingCost(
                steps=row.spent.steps, images=row.spent.images, losses=row.spent.losses, loaded=row.name
            )
        key = self.asset_key(module, rates=rates, losses=losses, first=first)

        def make() -> tuple[Spent, dict[str, Any]]:
            recipe, parts = self._recipe(rates, (*first, *losses)), []
            for (stage, share), terms in zip(
                stages(first).items(), (first, losses) if first else (losses,), strict=True
            ):
                objective = self._objective(terms, (*first, *losses))
                spent = self._trainer.train(
                    module,
                    self._loss(module, rates, objective, recipe),
                    recipe,
                    key=key,
                    stage=stage,
                    share=share,
                    evaluate=self._judge(module, rates, objective),
                    metric="search loss",
                    report=self.report,
                )
                parts.append(spent)
            return added(parts), module.state_dict()

        with _ONE_AT_A_TIME:
            try:
                (spent, weights), _ = self._trainer.asset(key, make, encode=_to_bytes, decode=_from_bytes)
            except CheckpointError:
                raise  # a full disk is no property of the network, which a kept refusal would be
            except ProfileError as error:
                raise FitError(f"at {self._cut.after}: {error.message}") from error
        module.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
        return TrainingCost(steps=spent.steps, images=spent.images, losses=spent.losses)

    def _recipe(self, rates: int, losses: Sequence[LossTerm]) -> Recipe:
        each, shape = RECIPE.batch, self._graph.tensors[self._cut.tensors[0]].shape
        if all(term.name in OF_THE_TENSOR for term in losses):
            each = min(each, max(1, POSITIONS // math.prod(shape[2:])))
        return dataclasses.replace(RECIPE, batch=each * rates, seed=self._seed)

    @functools.cached_property
    def tail(self) -> nn.Module:
        """The tail as a torch module; raises `ProfileError` for operators that torch cannot run."""
        return torch_halves(self._graph, self._cut)[1].eval()

    def _kept(self, data: TrainingSet, sha256: str, *names: str) -> Activations:
        """Tensors on the inputs of `data`; raises `FitError` and `CheckpointError`."""
        import torch

        trainer = self._trainer
        folder = None if trainer.folder is None else trainer.folder.parent / FOLDER
        place = Place(folder=folder, limit_bytes=trainer.activations_bytes)
        threads = torch.get_num_threads()
        return activations(self._graph, names, data, sha256, place, threads=threads, report=self.report)

    def _objective(self, losses: Sequence[LossTerm], of_asset: Sequence[LossTerm]) -> _Objective:
        """What is trained for; cross-entropy is left out where the data have no labels.

        Answers that one training of an asset needs are computed once, with the tensors of all of them.
        """
        weights = {term.name: term.weight for term in losses}
        if self._trainer.data.labels is None:
            weights.pop("cross-entropy", None)
        tail = self.tail.to(training_device()) if weights.keys() - WITHOUT_TAIL else None
        with_answers = any(term.name not in WITHOUT_TAIL for term in of_asset)
        return _Objective(weights=weights, tail=tail, with_answers=with_answers)

    def _inputs(self, objective: _Objective, data: TrainingSet, sha256: str) -> _Inputs:
        """What the objectives of an asset need of `data`; raises `FitError` and `CheckpointError`."""
        cut, answer = self._cut.tensors[0], self._graph.outputs[0].name
        kept = self._kept(data, sha256, cut, answer) if objective.with_answers else self._kept(data, sha256, cut)
        return _Inputs(kept=kept, cut=cut, answer=answer if objective.with_answers else None, labels=data.labels)

    def _loss(self, module: nn.Module, rates: int, objective: _Objective, recipe: Recipe) -> Loss:
        """The terms of a step: each rate has its part of the batch."""
        inputs = self._inputs(objective, self._trainer.data, self._trainer.data_sha256)
        batches = Batches(inputs=len(inputs.kept), size=min(recipe.batch, len(inputs.kept)), seed=recipe.seed)

        def loss(step: int) -> Mapping[str, Tensor]:
            x, answers, labels = inputs.batch(batches.rows(step))
            parts = [(part, rate) for rate, part in enumerate(x.tensor_split(rates)) if len(part)]
            return objective.terms(module, parts, x, answers, labels)

        return loss

    def _judge(self, module: nn.Module, rates: int, objective: _Objective) -> Callable[[], float] | None:
        """The loss at all rates, on the inputs that choose between weights."""
        if self.judging is None:
            return None
        inputs = self._inputs(objective, self.judging, self.judging.sha256())
        places = np.arange(len(inputs.kept))

        def value() -> float:
            total = 0.0
            for chosen in np.array_split(places, -(-len(places) // JUDGED_TOGETHER)):
                batch = inputs.batch(chosen)
                for rate in range(rates):
                    terms = objective.terms(module, [(batch[0], rate)], *batch)
                    total += len(chosen) * float(sum(term.item() for term in terms.values()))
            return total / (len(places) * rates)

        return value


def stages(first: Sequence[LossTerm]) -> Mapping[str, float]:
    """The trainings of an asset, each with its share of the minutes."""
    return {FIRST: FIRST_SHARE, STAGE: 1 - FIRST_SHARE} if first else {STAGE: 1.0}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Inputs:
    """Tensors of the unsplit network on inputs, and their labels."""

    kept: Activations
    cut: str
    answer: str | None
    labels: NDArray[np.int64] | None

    def batch(self, places: NDArray[np.intp]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The cut tensor, the answers and the labels of the inputs number `places`."""
        import torch

        device = training_device()
        answers = None if self.answer is None else self.kept.tensor(self.answer, places).to(device)
        labels = None if self.labels is None else torch.from_numpy(self.labels[self.kept.rows[places]]).to(device)
        return self.kept.tensor(self.cut, places).to(device), answers, labels


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Objective:
    """The terms of a loss with their weights, and the tail where they need it."""

    weights: Mapping[LossName, float]
    tail: nn.Module | None
    with_answers: bool  # of the unsplit network, beside the tensor

    def terms(
        self,
        module: nn.Module,
        parts: Sequence[tuple[Tensor, int]],  # of x, each with its rate
        x: Tensor,
        answers: Tensor | None,
        labels: Tensor | None,
    ) -> dict[str, Tensor]:
        """The weighted terms of a batch."""
        import torch

        terms: dict[LossName, Tensor] = {}
        if "rate" in self.weights:
            made, counted = zip(*(module.coded(*part) for part in parts), strict=True)  # type: ignore[operator]
            copies, terms["rate"] = torch.cat(made), torch.stack(counted).mean()
        else:
            copies = torch.cat([module(*part) for part in parts])
        activated: Callable[[Tensor], Tensor] = getattr(module, "activated", lambda tensor: tensor)
        terms |= {
            name: loss(activated(copies), activated(x)) for name, loss in OF_THE_TENSOR.items() if name in self.weights
        }
        if self.tail is not None:
            with fast_products():
                given = self.tail(copies)[0]
            given = given.float()
            if "distillation" in self.weights and answers is not None:
                terms["distillation"] = distillation(given, answers)
            if "cross-entropy" in self.weights and labels is not None:
                terms["cross-entropy"] = cross_entropy(given, labels)
        return {name: self.weights[name] * term for name, term in terms.items()}


def _weights_sha256(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode() + value.numpy().tobytes())
    return digest.hexdigest()


def _to_bytes(made: tuple[Spent, dict[str, Any]]) -> bytes:
    return to_bytes({"spent": msgspec.to_builtins(made[0]), "weights": made[1]})


def _from_bytes(data: bytes) -> tuple[Spent, dict[str, Any]]:
    stored = from_bytes(data)
    return msgspec.convert(stored["spent"], Spent), stored["weights"]
