"""The notes of a plan: what was assumed, what was left out and why, and what should be known of its figures."""

from __future__ import annotations

from splitpoint.planner.cost.uncounted import uncounted_share
from splitpoint.planner.profiling.noise import RETEST_WARNING, describe_noise
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.plurals import count_text, uncounted_text
from splitpoint.profiles.units import format_fraction, format_seconds

__all__ = ["busy_server", "costly_encoder", "plan_notes"]


def __dir__() -> list[str]:
    return __all__


COSTLY = 0.1  # of its head's time: a codec that takes more says so
NAMED = 3  # names listed of what was left out for one reason


def plan_notes(result: SearchResult) -> tuple[str, ...]:
    """What was assumed, left out or noticed while a plan was made, a line each."""
    texts = [*result.problem.notes, *result.notes]
    split = result.problem.split
    search, report = split.search.group_count, split.report.group_count
    if min(search, report) < len(split.report) / 4:
        texts.append(f"demonstration: n = {count_text(report, 'scene')} in the report set, {search} in the search set")
    if result.profile.retest_error > RETEST_WARNING:
        texts.append(f"noisy host: the retest error of the profile is {format_fraction(result.profile.retest_error)}")
    texts += describe_noise([result.profile.host, result.device, result.server])
    texts += _uncounted(result)
    if (chosen := result.decision.recommended) is not None:
        texts += [*costly_encoder(chosen), *busy_server(chosen, result.problem.config.requests_s)]
    reasons: dict[str, list[str]] = {}
    for name, reason in sorted(result.left_out.items()):
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        texts.append(f"left out {', '.join(names[:NAMED])}{more}: {reason}")
    if result.problem.spec.kind != "image":
        texts.append("the input is a tensor: picture codecs are left out, fp16 and 8-bit codecs of the input take part")
    return tuple("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text) for text in texts)  # names of files


def costly_encoder(point: Evaluated) -> list[str]:
    """That a split's codec takes much of the time of the head that it stands behind, where it does."""
    cost, candidate = point.cost, point.candidate
    if candidate.placement != "split" or not 0 < COSTLY * cost.head_s < cost.encode_s:
        return []
    share = format_fraction(cost.encode_s / cost.head_s)
    times = f"{format_seconds(cost.encode_s)} for {format_seconds(cost.head_s)}"
    return [f"{candidate.codec} {point.label}: encoding takes {share} of its head's time ({times})"]


def busy_server(point: Evaluated, requests_s: float) -> list[str]:
    """How busy requests of all devices keep the server that they share, and how long one waits; (rho) of M/D/1."""
    service_s = point.cost.server_s
    if not requests_s * service_s:
        return []
    busy, wait = format_fraction(requests_s * service_s), format_seconds(point.cost.wait_s)
    return [f"{requests_s:g} requests/s of {format_seconds(service_s)} keep the server {busy} busy: each waits {wait}"]


def _uncounted(result: SearchResult) -> list[str]:
    """Operators without a count of multiply-adds, and how much of each modelled side's time is a bound of theirs."""
    graph = result.problem.graph
    if not graph.uncounted:
        return []
    given = result.given
    share = format_fraction(uncounted_share(graph, result.profile))
    texts = [f"{uncounted_text(graph.uncounted)}; {share} of the time measured on this host"]
    nodes = [node.index for node in graph.nodes if node.macs is None]
    for side in {side.device.name: side for side in (given.edge, given.server) if side.how == "modelled"}.values():
        whole_s, bound_s = side.run_s + float(side.node_s.sum()), float(side.node_s[nodes].sum())
        texts.append(
            f"{side.device.name}: {format_seconds(bound_s)} of {format_seconds(whole_s)} for the whole network are an"
            " upper bound for operators that are not counted, not a prediction"
        )
    return texts
