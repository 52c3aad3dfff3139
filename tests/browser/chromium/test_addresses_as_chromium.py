"""URLs are validated by our parser and opened by Chromium's: both must parse them alike."""

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
"""Text that URL parsers disagree about: separators, dots, digits, white space, letters that look or fold like ASCII."""


def addresses() -> list[str]:
    rng = random.Random(SEED)
    return [rng.choice(_HEADS) + "".join(rng.choice(_PIECES) for _ in range(rng.randint(0, 6))) for _ in range(CASES)]


async def test_an_accepted_address_has_the_scheme_that_chromium_parses(
    chromium: BrowserProcess, tmp_path: Path
) -> None:
    handle = await chromium.open_context(SessionSpec(), tmp_path / "session", lambda _: None, timeout=30)
    tried = addresses()
    read = f"""{json.dumps(tried)}.map(address => {{
        try {{ return new URL(address).href }} catch {{ return null }}
    }})"""
    theirs = await handle.evaluate(handle.pages()[0].page_id, read, timeout=60)

    known = [(address, href) for address, href in zip(tried, theirs, strict=True) if href is not None]
    accepted = [(address, href) for address, href in known if may_open(address)]
    assert min(len(accepted), len(known) - len(accepted)) > CASES // 10, "too few cases"
    assert [pair for pair in accepted if scheme_of(pair[0]) != pair[1].partition(":")[0]] == []
