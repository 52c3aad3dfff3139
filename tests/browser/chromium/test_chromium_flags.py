"""Our Chromium switches compared with those of the installed Playwright."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from playwright.async_api import Error, async_playwright

from browser_sessions.chromium.launch.flags import (
    LEFT_OUT,
    MARKER,
    NO_NAMES,
    OWN,
    PAGES_LAST,
    PROFILE,
    environment,
    switches,
)

pytestmark = pytest.mark.browser

LISTS = ("--disable-features", "--enable-features")
"""Switches whose value is a list; each item is compared."""


def single(arguments: Iterable[str]) -> set[str]:
    """All switches, with each item of a list as a separate switch."""
    found = set()
    for argument in arguments:
        name, _, value = argument.partition("=")
        found |= {f"{name}={part}" for part in value.split(",")} if name in LISTS else {argument}
    return found


async def playwrights(tmp_path: Path) -> set[str]:
    """The installed Playwright's arguments, recorded by a script that it starts."""
    arguments_file = tmp_path / "arguments"
    executable = tmp_path / "chromium"
    executable.write_text(f'#!/bin/sh\nfor each in "$@"; do printf "%s\\n" "$each"; done > {arguments_file}\n')
    executable.chmod(0o755)
    async with async_playwright() as playwright:
        with pytest.raises(Error):
            await playwright.chromium.launch(executable_path=executable, chromium_sandbox=True)
    return {each for each in single(arguments_file.read_text().splitlines()) if not each.startswith(PROFILE)}


async def test_every_switch_of_playwright_is_used_or_left_out_with_a_reason(tmp_path: Path) -> None:
    theirs = await playwrights(tmp_path)
    ours = single(switches(tmp_path, "run/brw_1", sandbox=True))

    assert "--remote-debugging-pipe" in theirs, "the script did not record Playwright's arguments"
    assert theirs - ours - set(LEFT_OUT) == set(), "new in Playwright: add it to flags.py, or to LEFT_OUT with a reason"
    assert set(LEFT_OUT) - theirs == set(), "left out, but no longer Playwright's"
    assert set(LEFT_OUT) & ours == set()
    known = {*OWN, PAGES_LAST, f"{PROFILE}{tmp_path}", f"{MARKER}run/brw_1"}
    assert ours - theirs == known, "no longer Playwright's: drop it, or move it to OWN with a reason"
    assert all(reason.strip() for reason in LEFT_OUT.values())


def test_no_switch_opens_a_port_or_is_repeated(tmp_path: Path) -> None:
    arguments = switches(tmp_path, "run/brw_1", sandbox=True)
    names = [each.partition("=")[0] for each in arguments]
    assert len(names) == len(set(names)), "Chromium uses only the last of repeated switches"
    assert not [each for each in names if each.startswith("--remote-debugging") and each != "--remote-debugging-pipe"]
    assert "--no-sandbox" not in arguments
    assert "--no-sandbox" in switches(tmp_path, "run/brw_1", sandbox=False)
    assert not [each for each in arguments if "proxy-server" in each or "resolver" in each]
    proxied = switches(tmp_path, "run/brw_1", sandbox=True, proxy="http://127.0.0.1:1")
    assert {"--proxy-server=http://127.0.0.1:1", "--proxy-bypass-list=<-loopback>", NO_NAMES} < set(proxied)


def test_the_environment_has_only_what_chromium_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER_SESSIONS_ADMIN_API_KEY", "canary")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("TZ", "Europe/Rome")
    found = environment(tmp_path / "home", tmp_path / "tmp")
    assert found["HOME"] == str(tmp_path / "home")
    assert found["TMPDIR"] == str(tmp_path / "tmp")
    assert found["TZ"] == "Europe/Rome"
    assert "canary" not in json.dumps(found)


def test_without_nice_renderers_have_the_browsers_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PAGES_LAST in switches(tmp_path, "run/brw_1", sandbox=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert PAGES_LAST not in switches(tmp_path, "run/brw_1", sandbox=True)
