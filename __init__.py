"""splitpoint: plan where to cut a neural network between a device and a server, and how to code what crosses.

To plan: ``found = plan(model, data, device="raspberry-pi-4", link="wifi-5")``, then ``found.save(directory)``.
To run a plan: ``plan = Plan.load(directory); payload = plan.head(x); y = plan.tail(payload)``.
The command line is made of the same functions (see ARCHITECTURE.md).
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if sys.platform == "win32":  # files are opened relative to folders and locked with flock; docs/reference/platforms.md
    raise ImportError("splitpoint runs on Linux and macOS, not on Windows itself: install it in WSL (wsl --install)")

if TYPE_CHECKING:
    from splitpoint.codecs.contract.protocol import PayloadError as PayloadError
    from splitpoint.planner.deploy.plan import Plan as Plan
    from splitpoint.planner.face.halves import split as split
    from splitpoint.planner.face.models import cuts as cuts
    from splitpoint.planner.face.models import load_profile as load_profile
    from splitpoint.planner.face.models import profile as profile
    from splitpoint.planner.face.plans import PlanResult as PlanResult
    from splitpoint.planner.face.plans import plan as plan
    from splitpoint.planner.face.stored import verify as verify
    from splitpoint.planner.face.stored import what_if as what_if
    from splitpoint.profiles.errors import ProfileError as ProfileError
    from splitpoint.profiles.network.inputs import read_picture as read_picture

__all__ = [
    "PayloadError",
    "Plan",
    "PlanResult",
    "ProfileError",
    "__version__",
    "cuts",
    "load_profile",
    "plan",
    "profile",
    "read_picture",
    "split",
    "verify",
    "what_if",
]

__version__ = "0.1.0"

_HOMES = {
    "PayloadError": "codecs.contract.protocol",
    "Plan": "planner.deploy.plan",
    "PlanResult": "planner.face.plans",
    "ProfileError": "profiles.errors",
    "cuts": "planner.face.models",
    "load_profile": "planner.face.models",
    "plan": "planner.face.plans",
    "profile": "planner.face.models",
    "read_picture": "profiles.network.inputs",
    "split": "planner.face.halves",
    "verify": "planner.face.stored",
    "what_if": "planner.face.stored",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that ``import splitpoint`` stays cheap."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"splitpoint.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'splitpoint' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
