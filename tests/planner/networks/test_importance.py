"""First-order importance of channels: against removal by brute force, and networks whose answer is known."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from splitpoint.planner.networks.channel_groups import channel_groups, remove_channels
from splitpoint.planner.networks.importance import label_loss, output_loss, taylor_importance
from splitpoint.profiles.errors import ProfileError
from splitpoint.tests.nets import mobilenet_v2, resnet20

SHAPE = (1, 3, 12, 12)
LABELS = np.arange(12) % 5


def chain() -> Any:
    """Convolution, batch normalization with shifts, convolution, classifier: behind ReLU and pooling."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(12)
    nn.init.uniform_(norm.weight, 0.2, 2)
    nn.init.normal_(norm.bias)
    return nn.Sequential(
        nn.Conv2d(3, 12, 3), norm, nn.ReLU(), nn.Conv2d(12, 16, 3), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(),
        nn.Linear(64, 5),
    ).eval()  # fmt: skip


def pictures(shape: Sequence[int] = SHAPE, number: int = 12) -> torch.Tensor:
    return torch.randn(number, *shape[1:], generator=torch.Generator().manual_seed(1))


def importance_of(
    module: nn.Module, layers: Sequence[str], inputs: torch.Tensor, labels: NDArray[np.int64] | None = LABELS
) -> dict[str, NDArray[np.float64]]:
    loss = output_loss() if labels is None else label_loss(labels)
    return taylor_importance(module, channel_groups(module, layers, inputs[:1]), inputs, loss)


def test_it_predicts_what_removing_a_channel_does_to_the_loss() -> None:
    """Also where a channel is read by a linear layer behind a flatten, and where it is constant but for its shift."""
    module, x = chain(), pictures()
    found = importance_of(module, ["0", "3"], x)
    for name in ("0", "3"):
        changes = [_removal(module, name, channel, x) for channel in range(len(found[name]))]
        assert spearmanr(found[name], changes).statistic > 0.85, name


def _removal(module: nn.Module, name: str, channel: int, x: torch.Tensor) -> float:
    """Mean over inputs of the absolute change of the cross-entropy when the channel is really removed."""
    thin = copy.deepcopy(module)
    remove_channels(thin, {name: [channel]}, x[:1])
    with torch.no_grad():
        before, after = (
            nn.functional.cross_entropy(m(x), torch.from_numpy(LABELS), reduction="none") for m in (module, thin)
        )
    return float((after - before).abs().mean())


def test_it_is_the_derivative_of_scaling_the_channel() -> None:
    """Against central differences in float64 (tolerance: their error of second order), residual additions included."""
    module: Any = resnet20(width=4, classes=5).double()
    x = pictures((1, 3, 16, 16), 3).double()
    names = [name for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)]
    groups = channel_groups(module, names, x[:1])
    assert len(groups[0].writers) == 4  # the stem and the last convolutions of the first stage's blocks
    assert len(groups[0].readers) == 5  # the first ones, and both branches of the second stage
    found = taylor_importance(module, groups, x, label_loss(LABELS))
    step = 1e-5
    for group in groups:
        for channel in (0, group.channels - 1):
            low, high = (_scaled(module, group, channel, scale, x) for scale in (1 - step, 1 + step))
            derivative = float(((high - low) / (2 * step)).abs().mean())
            assert found[group.name][channel] == pytest.approx(derivative, rel=1e-4, abs=1e-9)


def _scaled(module: nn.Module, group: Any, channel: int, scale: float, x: torch.Tensor) -> torch.Tensor:
    """(N,): cross-entropy of each input with one channel scaled where it is read."""
    changed: Any = copy.deepcopy(module)
    with torch.no_grad():
        for reader in group.readers:
            weight = changed.get_submodule(reader.layer).weight
            weight[:, reader.own[reader.shared == channel]] *= scale
        losses: torch.Tensor = nn.functional.cross_entropy(
            changed(x), torch.from_numpy(LABELS[: len(x)]), reduction="none"
        )
    return losses


@pytest.mark.parametrize("labels", [LABELS, None], ids=["labels", "outputs"])
def test_a_channel_that_nothing_uses_has_none(labels: NDArray[np.int64] | None) -> None:
    module = chain()
    with torch.no_grad():
        module[3].weight[:, 5] = 0
    found = importance_of(module, ["0"], pictures(), labels)["0"]
    assert found[5] == 0
    assert np.count_nonzero(found) > 8  # one more is never above 0 behind its ReLU


def test_filters_that_are_the_same_and_are_read_alike_have_the_same() -> None:
    module = chain()
    with torch.no_grad():
        for tensor in (*module[0].state_dict().values(), *(t for t in module[1].state_dict().values() if t.ndim)):
            tensor[7] = tensor[2]
        module[3].weight[:, 7] = module[3].weight[:, 2]
    found = importance_of(module, ["0"], pictures())["0"]
    assert found[7] == pytest.approx(found[2], rel=1e-6)


def test_inputs_do_not_depend_on_each_other_and_runs_repeat() -> None:
    module, x = chain(), pictures()
    whole = importance_of(module, ["0", "3"], x)
    again = importance_of(module, ["0", "3"], x)
    parts = [importance_of(module, ["0", "3"], x[i : i + 1], LABELS[i : i + 1]) for i in range(len(x))]
    for name, values in whole.items():
        assert np.array_equal(values, again[name])
        np.testing.assert_allclose(values, np.mean([part[name] for part in parts], axis=0), rtol=1e-12)
    assert all(parameter.grad is None for parameter in module.parameters())


def test_directions_of_the_outputs_repeat_but_differ_between_inputs() -> None:
    answer = torch.arange(64.0)
    loss, same = output_loss(), output_loss()
    values = [float(loss(answer, n)) for n in range(6)]
    assert values == [float(same({"a": [answer]}, n)) for n in range(6)]
    assert len(set(values)) > 1


def test_depthwise_convolutions_pass_channels_on_and_read_none() -> None:
    module = mobilenet_v2(width=0.25, classes=5)
    x = pictures((1, 3, 32, 32), 2)
    depthwise = {n for n, m in module.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1}
    layers = [n for n, m in module.named_modules() if isinstance(m, nn.Conv2d) and m.groups == 1][:5]
    groups = channel_groups(module, layers, x[:1])
    assert depthwise
    assert all(group.readers for group in groups)
    assert not {reader.layer for group in groups for reader in group.readers} & depthwise
    found = taylor_importance(module, groups, x, label_loss(LABELS))
    assert all(len(values) == group.channels for values, group in zip(found.values(), groups, strict=True))


class Classes(nn.Sequential):
    """Answers with the class itself, which has no gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = super().forward(x).argmax(1)
        return answer


def test_a_network_without_gradients_is_refused_in_words() -> None:
    module, x = chain(), pictures()
    groups = channel_groups(module, ["0"], x[:1])
    with pytest.raises(ProfileError, match="gradients of this network cannot be computed") as caught:
        taylor_importance(Classes(*module), groups, x, output_loss())
    assert caught.value.fix == "method: magnitude"
