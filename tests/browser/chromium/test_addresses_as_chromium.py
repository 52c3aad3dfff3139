"""Addresses are checked by one parser and opened by Chromium's: the two must read them alike."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Final

import pytest

from browser_sessions.chromium.ports import BrowserProcess
from browser_sessions.domain.session_spec import SessionSpec
from browser_sessions.domain.urls import may_open, scheme_of

pytestmark = pytest.mark.browser

CASES: Final = 4_000
SEED: Final = 156

_HEADS: Final = (
    "http:", "https://", "HTTP://", "file:", "file:///", "FILE:", "fi\nle:", "ht\ttp://", " \x00https://", "blob:",
    "view-source:", "filesystem:", "about:", "data:", "javascript:", "chrome://", "devtools://", "",
)  # fmt: skip
_PIECES: Final = (
    "http:", "https:", "file:", "data:", "about:", "blob:", "view-source:", "chrome:", "/", "//", "\\", ":", "@", "?",
    "#", ".", "..", "%00", "%2f", "%", "[::1]", "[", "]", "127.1", "0x7f.1", "2130706433", ":80", ":99999", "u:w@",
    "\t", "\n", "\r", " ", "\x00", "\x1f", "\x7f", "\xa0", "\u200b", "\ufeff", "\u3000", "a", "a.b", "localhost",
    "xn--nxa", "\xfc", "\xdf", "\u3002", "\uff1a", "\uff0f", "\uff46", "\u0131", "\u0130", "\u017f", "\u212a", "\u202e",
    "blank", "srcdoc", "null/", "etc/passwd", "C:", "C|", "<", "|", "^", "*",
)  # fmt: skip
"""What parsers disagree about: separators, dots, digits, white space and letters that look or fold like ASCII."""


def addresses() -> list[str]:
    chance = random.Random(SEED)
    return [
        chance.choice(_HEADS) + "".join(chance.choice(_PIECES) for _ in range(chance.randint(0, 6)))
        for _ in range(CASES)
    ]


async def test_an_address_that_is_taken_has_the_scheme_that_chromium_reads(
    chromium: BrowserProcess, tmp_path: Path
) -> None:
    handle = await chromium.open_context(SessionSpec(), tmp_path / "session", lambda _: None, timeout=30)
    asked = addresses()
    read = f"""{json.dumps(asked)}.map(address => {{
        try {{ return new URL(address).href }} catch {{ return null }}
    }})"""
    theirs = await handle.evaluate(handle.pages()[0].page_id, read, timeout=60)

    known = [(address, href) for address, href in zip(asked, theirs, strict=True) if href is not None]
    taken = [(address, href) for address, href in known if may_open(address)]
    assert min(len(taken), len(known) - len(taken)) > CASES // 10, "too few to tell"
    assert [pair for pair in taken if scheme_of(pair[0]) != pair[1].partition(":")[0]] == []
