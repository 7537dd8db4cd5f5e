"""docs/how-to/own-link.md: every example is a link, and the one with a price has that price."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitpoint.profiles.files.structs import decode_yaml
from splitpoint.profiles.link.energy import link_usd
from splitpoint.profiles.link.link import Link

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "own-link.md"
BLOCKS = re.findall(r"```yaml[^\n]*\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
LINK: Any = Link


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.findall("name: (.*)", block)[0])
def test_every_example_is_a_link(block: str) -> None:
    assert decode_yaml(block, LINK, where="own-link.md").name.startswith("my-")


def test_the_price_is_of_bytes_with_their_headers_and_repetitions() -> None:
    (block,) = [block for block in BLOCKS if "usd_byte" in block]
    link = decode_yaml(block, LINK, where="own-link.md")
    assert link_usd(link, 960) == pytest.approx(1000 / 0.99 * 30e-9)  # one packet has 40 bytes of headers
    assert link_usd(msgspec.structs.replace(link, usd_byte=None, usd_message=None), 960) is None
