"""``splitpoint.verify`` and ``what_if``: questions to a plan directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.output.asked_again import what_if_of_plan
from splitpoint.planner.output.documents.answers.what_if import WhatIfDocument
from splitpoint.planner.output.documents.verify import VerifyDocument, verify_document
from splitpoint.planner.plandir.verify import verify as run_checks
from splitpoint.profiles.errors import ProfileError

__all__ = ["verify", "what_if"]


def __dir__() -> list[str]:
    return __all__


def verify(
    directory: str | Path,
    *,
    expect: str | None = None,
    trust_code: bool = False,
    strict_latency: bool = False,
    provider: str | None = None,
    provider_options: Mapping[str, str] | None = None,
    cpu_fallback: bool = False,
) -> VerifyDocument:
    """Run a plan from its files alone and compare with what it says: every check, and how many there are of each kind.

    `expect` is the SHA-256 that plan.yaml must have; code that the plan names runs only with `trust_code`;
    `provider` runs head and tail, with its options and, where it may, the CPU beside it. Raises `ProfileError` where
    plan.yaml cannot be read or the installed ONNX Runtime does not offer the provider.

    Examples:
        >>> import splitpoint
        >>> checked = splitpoint.verify("plan")
        >>> checked.count.failed
        0
        >>> checked.checks[0].name
        'hashes'
    """
    checks = run_checks(
        Path(directory),
        expect=expect,
        trust_code=trust_code,
        strict_latency=strict_latency,
        provider=provider,
        provider_options=provider_options,
        cpu_fallback=cpu_fallback,
    )
    return verify_document(checks)


def what_if(
    directory: str | Path,
    *,
    device: str | None = None,
    server: str | None = None,
    link: str | None = None,
    link_rate: str | None = None,
    snr: str | None = None,
    server_load: str | None = None,
    prefer: str | None = None,
    confident: bool = False,
    deadline_share: str | None = None,
    **limits: str | None,
) -> WhatIfDocument:
    """Decide again from what a plan measured: another device, server, link or limit. Nothing is measured.

    `link_rate` and `snr` may be ranges, such as "0.05..100Mbit/s"; limits are those of the `need:` block, as text with
    units (``deadline="50 ms"``). Raises `ProfileError`.

    Examples:
        >>> import splitpoint
        >>> answer = splitpoint.what_if("plan", link="lte-cat1")
        >>> answer.answer_kind in ("device", "input", "split")
        True
    """
    known = [limit.field for limit in LIMITS.values() if limit.field is not None]
    unknown = [name for name in limits if name not in known]
    if unknown:
        raise ProfileError(f"unknown limit {unknown[0]!r}", at="splitpoint.what_if", fix=f"one of {', '.join(known)}")
    conditions = {
        "device": device,
        "server": server,
        "link": link,
        "server_load": server_load,
        "prefer": prefer,
        "confident": confident,
        "deadline_share": deadline_share,
        **limits,
    }
    return what_if_of_plan(Path(directory), conditions, link_rate=link_rate, snr=snr)
