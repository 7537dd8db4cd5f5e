"""Names of what a plan directory contains beside the files that `planner.deploy.plan` runs."""

from __future__ import annotations

__all__ = ["CONFIG", "FRONT", "POINT", "POINTS"]


def __dir__() -> list[str]:
    return __all__


CONFIG = "config.yaml"  # what was asked for
FRONT = "front.csv"  # every measured point (`planner.plandir.front`)
POINTS = "points"  # a folder for each point of the front, named by its number
POINT = "point.yaml"  # in each of them: a `PointFile`
