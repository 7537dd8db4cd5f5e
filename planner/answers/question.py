"""A question that measured points answer: on which machines, over which channel, within which limits, best in what."""

from __future__ import annotations

import dataclasses

import msgspec

from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.cost.message import Channel
from splitpoint.planner.cost.price import over
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.search.decide import Decision, decide, recommend, violations
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.link.types import Link
from splitpoint.profiles.machine.device import Device

__all__ = ["Question", "over_channel", "question_of"]


def __dir__() -> list[str]:
    return __all__


# Limits that no link and no deadline changes: a point that misses one is out at every rate.
FIXED = frozenset(
    {"payload", "device memory", "device flash", *(name for name, limit in LIMITS.items() if limit.of_quality)}
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Question:
    """Measured points with what they cost on `device` and `server` over `channel`, and what is asked of them."""

    points: tuple[Evaluated, ...]
    device: Device
    server: Device
    channel: Channel
    needs: Requirements
    objectives: tuple[str, ...]
    aim: Aim

    def over(self, link: Link) -> Question:
        """The same question over another link."""
        channel = dataclasses.replace(self.channel, link=link)
        points = tuple(over_channel(point, channel, self.device, self.server) for point in self.points)
        return dataclasses.replace(self, points=points, channel=channel)

    def within(self, needs: Requirements) -> Question:
        """The same question with other limits."""
        channel = dataclasses.replace(self.channel, share=needs.deadline_share)
        asked = dataclasses.replace(self, needs=needs, channel=channel)
        return asked if needs.deadline_share == self.channel.share else asked.over(channel.link)

    def without_hopeless(self) -> Question:
        """Only the points that some link lets meet every limit: the answer over every link stays what it is."""
        kept = [
            point
            for point in self.points
            if FIXED.isdisjoint(violation.name for violation in violations(point, self.needs))
        ]
        return dataclasses.replace(self, points=tuple(kept))

    def decide(self) -> Decision:
        """The front, the answer and why, or the nearest misses."""
        return decide(self.points, self.needs, self.objectives, self.aim)

    def answer(self) -> Evaluated | None:
        """The answer alone."""
        return recommend(self.points, self.needs, self.objectives, self.aim)

    def feasible(self) -> tuple[Evaluated, ...]:
        """The points that meet every limit."""
        return tuple(point for point in self.points if not violations(point, self.needs))


def question_of(result: SearchResult) -> Question:
    """The question that a search answered."""
    problem = result.problem
    return Question(
        points=tuple(result.points),
        device=result.device,
        server=result.server,
        channel=problem.channel,
        needs=problem.needs,
        objectives=tuple(problem.config.objectives),
        aim=result.aim,
    )


def over_channel(point: Evaluated, channel: Channel, device: Device, server: Device) -> Evaluated:
    """The same point over another channel; what is all on the device sends nothing, and stays as it is."""
    if point.candidate.placement == "device":
        return point
    return msgspec.structs.replace(point, cost=over(point.cost, channel, device, server))
