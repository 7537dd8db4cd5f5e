"""Near chance, much better, other orders of labels, and where NaN begins: by hand and by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from splitpoint.planner.quality.label_order import assign_labels, find_label_order
from splitpoint.planner.quality.nonfinite import find_origin, name_of_values
from splitpoint.planner.quality.sanity import Indices, is_much_better, measure_fit
from splitpoint.profiles.network.model import Node


def answers(labels: Indices, accuracy: float, classes: int, seed: int = 0) -> Indices:
    """Predictions that are right with this probability, else any class."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(labels)) < accuracy, labels, rng.integers(0, classes, len(labels)))


def drawn(count: int, classes: int, seed: int = 1) -> Indices:
    return np.random.default_rng(seed).integers(0, classes, count)


@pytest.mark.parametrize(
    ("predicted", "labels", "right", "chance", "near"),
    [
        ([0, 1, 2, 3], [0, 1, 2, 3], 4, 0.25, False),
        ([1, 2, 3, 0], [0, 1, 2, 3], 0, 0.25, True),  # below chance
        ([0, 0, 0, 0], [0, 0, 0, 1], 3, 0.75, True),  # always the commonest class
        ([0, 0, 0, 0], [0, 0, 0, 0], 4, 0.25, False),  # labels of one class, 4 outputs
        ([1, 2, 3, 0], [0, 0, 0, 0], 1, 0.25, True),
        ([0] * 97 + [1] * 3, [0] * 98 + [1] * 2, 99, 0.97 * 0.98 + 0.03 * 0.02, False),  # rare classes, and found
    ],
)
def test_chance_by_hand(predicted: list[int], labels: list[int], right: int, chance: float, near: bool) -> None:
    fit = measure_fit(np.array(predicted), np.array(labels), 4)
    assert (fit.right, fit.inputs) == (right, len(labels))
    assert fit.chance == pytest.approx(chance)
    assert fit.near_chance is near


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_labels_in_another_order_are_near_chance_and_a_modest_network_is_not(classes: int) -> None:
    labels = drawn(400, classes)
    order = np.roll(np.arange(classes), 1)
    assert measure_fit(order[answers(labels, 0.9, classes)], labels, classes).near_chance
    assert not measure_fit(answers(labels, 0.3, classes), labels, classes).near_chance


def test_much_better_needs_both_a_gain_and_more_than_luck() -> None:
    def flags(*right: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.repeat(np.array([True, False]), right)

    none = flags(0, 100)
    assert is_much_better(flags(10, 90), none)  # 10 of 100, 2^-10 below 0.001
    assert not is_much_better(flags(9, 91), none)  # 2^-9 above it
    assert not is_much_better(np.concatenate([flags(12, 988)]), flags(0, 1000))  # no luck, but little
    assert not is_much_better(flags(50, 50), flags(50, 50))


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (lambda labels, classes: np.minimum(labels + 1, classes - 1), "one further"),
        (lambda labels, classes: np.maximum(labels - 1, 0), "one back"),
        (lambda labels, classes: classes - 1 - labels, "reversed"),
        (lambda labels, classes: np.array(sorted(range(classes), key=str))[labels], "as numbers"),
        (lambda labels, classes: np.argsort(np.array(sorted(range(classes), key=str)))[labels], "as text"),
    ],
)
def test_usual_mistakes_are_told_from_few_inputs_of_many_classes(order, says: str) -> None:
    labels = drawn(60, 200)
    found = find_label_order(order(answers(labels, 0.8, 200), 200), labels, 200)
    assert found is not None
    assert found[0].startswith(says)
    assert found[1] >= 40


def test_names_that_were_sorted_are_told() -> None:
    names = ["tench", "Ant", "goldfish", "zebra", "bee", "cock", "owl", "Robin", "hen", "dog"]
    labels = drawn(50, 10)
    position = {name: i for i, name in enumerate(sorted(names, key=str.casefold))}
    order = np.array([position[name] for name in names])
    found = find_label_order(order[labels], labels, 10, names)
    assert found == ("sorted by name, capitals with small letters", 50)


def test_any_order_is_found_with_enough_inputs_and_named() -> None:
    labels = drawn(80, 8)
    order = np.array([3, 0, 6, 1, 7, 2, 5, 4])
    names = [f"class {i}" for i in range(8)]
    found = find_label_order(order[answers(labels, 0.9, 8)], labels, 8, names)
    assert found is not None
    assert (
        found[0]
        == "of their own (class 0 is output 3, class 1 is output 0, class 2 is output 6, class 3 is output 1, ...)"
    )
    assert found[1] >= 60


@pytest.mark.parametrize(("count", "classes"), [(40, 1000), (60, 100), (80, 10), (200, 10), (30, 2), (300, 2)])
def test_no_order_is_found_in_noise(count: int, classes: int) -> None:
    """A permutation of many classes fits any few inputs; on the other half it must not."""
    found = [
        find_label_order(drawn(count, classes, seed), drawn(count, classes, 1000 + seed), classes) for seed in range(60)
    ]
    assert [order for order in found if order is not None] == []
    fitted = assign_labels(drawn(40, 1000, 3), drawn(40, 1000, 4))
    assert len(fitted) >= 35  # what the halves guard against


def test_a_right_order_is_not_called_wrong() -> None:
    for classes, accuracy in itertools.product((2, 10, 100), (0.3, 0.6, 0.95)):
        labels = drawn(200, classes)
        assert find_label_order(answers(labels, accuracy, classes), labels, classes) is None


def test_the_assignment_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, predicted = rng.integers(0, 5, 40), rng.integers(0, 5, 40)
        order = assign_labels(predicted, labels)
        assert len(set(order.values())) == len(order)
        got = sum(order.get(int(a)) == b for a, b in zip(labels, predicted, strict=True))
        best = max(int((np.array(p)[labels] == predicted).sum()) for p in itertools.permutations(range(5)))
        assert got == best


def node(name: str, inputs: tuple[str, ...], output: str) -> Node:
    return Node(
        index=0,
        name=name,
        op_type=name.capitalize(),
        op_class="other",
        inputs=inputs,
        outputs=(output,),
        macs=0,
        parameters=0,
        weight_bytes=0,
    )


def test_nan_is_followed_to_the_node_that_makes_it_past_a_mask() -> None:
    nodes = [
        node("exp", ("x",), "large"),
        node("mask", ("x",), "masked"),
        node("div", ("large",), "ratio"),
        node("add", ("ratio", "masked"), "sum"),
        node("out", ("sum",), "y"),
    ]
    values = {"x": None, "large": "infinity", "masked": "infinity", "ratio": "NaN", "sum": "NaN", "y": "NaN"}
    origin = find_origin(nodes, values, "y")
    assert origin is not None
    assert (origin.tensor, origin.node, origin.values, origin.infinite_inputs) == ("ratio", "div", "NaN", ("large",))
    only = find_origin(nodes, {"large": "infinity", "ratio": "infinity", "sum": "infinity", "y": "infinity"}, "y")
    assert only is not None
    assert only.tensor == "large"
    assert find_origin(nodes, {}, "not there") is None


def test_names_of_values() -> None:
    assert name_of_values(np.array([1.0, np.nan, np.inf])) == "NaN"
    assert name_of_values(np.array([1.0, -np.inf], np.float16)) == "infinity"
    assert name_of_values(np.array([1.0])) is None
    assert name_of_values(np.array([1])) is None
