"""How we start Chromium beyond Playwright's own flags: each flag and each variable with its reason. Pure but for
reading the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

MARKER: Final = "--browser-sessions-run="
"""Chromium ignores it; it says whose process this is: leftovers are recognised by it, besides pid and start time."""

LEFT_OUT: Final = ("--disable-ipc-flooding-protection",)
"""Of Playwright's own flags. With this one a page may change its address without end, and each change is an event for
whoever drives it; without, Chromium lets it do so 200 times in ten seconds, as in everybody's browser."""

_PASSED_ON: Final = (
    "PATH",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "LD_LIBRARY_PATH",
    "FONTCONFIG_PATH",
    "FONTCONFIG_FILE",
)
"""Where programs, libraries and fonts are, what language and time zone sessions get that ask for none."""
_SANDBOX_HELPER: Final = "CHROME_DEVEL_SANDBOX"
"""The setuid sandbox's path, where a system without user namespaces has one."""


def flags(port: int, marker: str) -> list[str]:
    """Arguments for one browser whose debugging port is `port`."""
    return [
        # CDP for the gateway, beside Playwright's own pipe; Chromium binds it to loopback.
        f"--remote-debugging-port={port}",
        # Pages must not reach that port by any host name (the egress proxy stops them by address).
        f"--host-resolver-rules=MAP *:{port} ~NOTFOUND",
        # WebRTC sends no UDP past a session's proxy. Of the spellings around, this is the one that works (measured).
        "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
        # Warnings at least: what pages write to their console would all go to standard error, which Playwright's driver
        # keeps, and puts into the error of a browser that ends: at 80 MB the driver ended itself, and all its browsers.
        "--log-level=1",
        MARKER + marker,
    ]


def environment(home: Path, tmp: Path) -> dict[str, str | float | bool]:
    """Chromium's environment: nothing of ours that could be a secret; home and temporary files in folders of ours.

    Temporary files include shared memory: Playwright starts Chromium with `--disable-dev-shm-usage`, so that a
    container's tiny /dev/shm kills no page.
    """
    kept = {name: os.environ[name] for name in (*_PASSED_ON, _SANDBOX_HELPER) if name in os.environ}
    return {**kept, "HOME": str(home), "TMPDIR": str(tmp)}
