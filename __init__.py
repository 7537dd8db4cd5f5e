"""splitpoint: plan where to cut a neural network between a device and a server, and how to code what crosses.

The flow is model -> profile -> cuts -> cost -> search -> plan -> export -> verify (see ARCHITECTURE.md).
To run a plan: ``plan = Plan.load(directory); payload = plan.head(x); y = plan.tail(payload)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from splitpoint.planner.deploy.plan import Plan as Plan

__all__ = ["Plan", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import `Plan` on first use, so that ``import splitpoint`` stays cheap."""
    if name == "Plan":
        from splitpoint.planner.deploy.plan import Plan

        return Plan
    raise AttributeError(f"module 'splitpoint' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
