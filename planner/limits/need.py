"""The `need:` block of a configuration, made of the rows of limits, and the requirements that it amounts to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from splitpoint.planner.deploy.requirements import Bound, Requirements
from splitpoint.planner.limits.limits import FIGURES, LIMITS
from splitpoint.profiles.errors import ProfileError

__all__ = ["DEFAULT_AGREEMENT", "Need", "Share", "asked", "check_share", "requirements"]


def __dir__() -> list[str]:
    return __all__


DEFAULT_AGREEMENT = 0.90  # floor without labels
DEFAULT_DROP = 0.01  # floor with labels: one point

Share = Annotated[float, msgspec.Meta(gt=0, lt=1, extra={"kind": "fraction"})]


class _NeedBase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plan must meet; what is left out is no limit, but there is always a quality floor."""

    deadline_share: Share | None = None  # of cases in which the deadline must hold; default: on average
    confident: bool = False  # bind the 95 % bound of the quality instead of its estimate


if TYPE_CHECKING:

    class Need(_NeedBase, frozen=True, kw_only=True, forbid_unknown_fields=True):
        """A field for each limit that can be asked for; None is no limit."""

        def __init__(self, **fields: object) -> None: ...
        def __getattr__(self, name: str) -> Any: ...

else:
    Need = msgspec.defstruct(
        "Need",
        [
            (limit.field, Annotated[limit.unit, msgspec.Meta(description=limit.described)] | None, None)
            for limit in LIMITS.values()
            if limit.field is not None
        ],
        bases=(_NeedBase,),
        module=__name__,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )


def asked(need: Need) -> dict[str, float]:
    """Limit -> bound, of the limits that were asked for."""
    fields = {name: getattr(need, limit.field) for name, limit in LIMITS.items() if limit.field is not None}
    return {name: value for name, value in fields.items() if value is not None}


def check_share(need: Need) -> None:
    """Raise `ProfileError` for a share of cases without the deadline that it is of."""
    if need.deadline_share is not None and need.deadline is None:
        raise ProfileError("a share of cases needs a deadline", at="$.need.deadline_share", fix="add deadline")


def requirements(
    need: Need,
    *,
    labelled: bool,
    agreement: float = DEFAULT_AGREEMENT,
    floors: Sequence[Bound] = (),
    figures: Sequence[str] = (),
) -> Requirements:
    """The limits to bind, with the default quality floor: a drop of 1 point with labels, 0.90 agreement without.

    `agreement` is the default in place of 0.90. `figures` are names of the metric's other figures, `floors` its default
    bounds on them. Raises `ProfileError` when a drop is asked of unlabelled data, where only agreement can be measured,
    when a figure is asked that the metric does not have, and when a share is asked of no deadline.
    """
    bounds = asked(need)
    if "drop" in bounds and not labelled:
        raise ProfileError(
            "max_drop needs labels, and the data has none",
            at="$.need.max_drop",
            fix="use min_agreement (with the unsplit network's answers), or give labelled data",
        )
    for name in FIGURES:
        if name in bounds and name not in figures:
            raise ProfileError(f"this task's metric has no {name}", at=f"$.need.{LIMITS[name].field}", fix="remove it")
    check_share(need)
    if "drop" not in bounds and "quality" not in bounds:
        bounds |= {"drop": DEFAULT_DROP} if labelled else {"quality": agreement}
    bounds = {floor.limit: floor.value for floor in floors} | bounds
    return Requirements(
        bounds=tuple(Bound(limit=name, value=bounds[name]) for name in LIMITS if name in bounds),
        confident=need.confident,
        deadline_share=need.deadline_share,
    )
