"""Whether the labels fit a network in another order: usual mistakes, or any order that held-out inputs confirm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from splitpoint.planner.quality.sanity import Flags, Indices, is_much_better

__all__ = ["find_label_order"]


def __dir__() -> list[str]:
    return __all__


NAMED = 4  # classes that a text lists


def find_label_order(
    predicted: Indices, labels: Indices, classes: int, names: Sequence[str] | None = None
) -> tuple[str, int] | None:
    """In words, an order of the labels under which predictions (N,) are right much more often, and how often; or None.

    `names` are the classes' names by label. An order of its own for every class fits any few inputs; it counts only
    where it is found on one half of the inputs and right on the other.
    """
    given = predicted == labels
    best: tuple[str, Flags] | None = None
    for text, order in _usual_orders(classes, names):
        right = predicted == order[labels]
        if is_much_better(right, given) and (best is None or right.sum() > best[1].sum()):
            best = text, right
    right = _held_out(predicted, labels)
    if is_much_better(right, given if best is None else best[1]):
        best = _describe(assign_labels(predicted, labels), names), right
    return None if best is None else (best[0], int(best[1].sum()))


def assign_labels(predicted: Indices, labels: Indices) -> dict[int, int]:
    """Label -> output, each output once, with the most predictions right: the assignment on the confusion matrix."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = np.unique(labels), np.unique(predicted)
    confusion = np.zeros((len(rows), len(columns)), np.int64)
    np.add.at(confusion, (np.searchsorted(rows, labels), np.searchsorted(columns, predicted)), 1)
    chosen = zip(*linear_sum_assignment(confusion, maximize=True), strict=True)
    return {int(rows[i]): int(columns[j]) for i, j in chosen if confusion[i, j]}


def _held_out(predicted: Indices, labels: Indices) -> Flags:
    """(N,) which inputs are right under the order that fits the other half of each class."""
    seen: dict[int, int] = {}
    half = np.zeros(len(labels), np.int64)
    for i, label in enumerate(labels.tolist()):
        half[i] = seen.get(label, 0) % 2
        seen[label] = seen.get(label, 0) + 1
    right = np.zeros(len(labels), np.bool_)
    for side in (0, 1):
        fitted, tested = half != side, half == side
        if fitted.any():
            order = assign_labels(predicted[fitted], labels[fitted])
            right[tested] = [
                order.get(label) == output
                for label, output in zip(labels[tested].tolist(), predicted[tested].tolist(), strict=True)
            ]
    return right


def _usual_orders(classes: int, names: Sequence[str] | None) -> list[tuple[str, Indices]]:
    """Orders (label -> output) that come of usual mistakes, in words."""
    labels = np.arange(classes)
    as_text = np.array(sorted(range(classes), key=str))
    orders = [
        ("one further (the network's first output is a background class)", np.minimum(labels + 1, classes - 1)),
        ("one back (the labels have a background class that the network lacks)", np.maximum(labels - 1, 0)),
        ("reversed", labels[::-1]),
        ("as numbers, where they were sorted as text (0, 1, 10, 11, ..., 2)", as_text),
        ("as text (0, 1, 10, 11, ..., 2), where they were sorted as numbers", np.argsort(as_text)),
    ]
    if names is not None and len(names) == classes:
        for text, key in (("sorted by name", str), ("sorted by name, capitals with small letters", str.casefold)):
            position = {name: i for i, name in enumerate(sorted(names, key=key))}
            orders.append((text, np.array([position[name] for name in names])))
    return orders


def _describe(order: Mapping[int, int], names: Sequence[str] | None) -> str:
    moved = [(label, output) for label, output in order.items() if label != output]
    texts = [f"{names[label] if names else label} is output {output}" for label, output in moved[:NAMED]]
    return f"of their own ({', '.join(texts)}{', ...' if len(moved) > NAMED else ''})"
