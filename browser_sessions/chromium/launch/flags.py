"""How Chromium is started: every switch and every environment variable, each with its reason.

Most switches come from Playwright, whose pages and actions are tested with them. A test compares them with those of the
installed Playwright: a switch that is new there must be added here or to `LEFT_OUT`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

MARKER: Final = "--browser-sessions-run="
"""Chromium ignores it; it says whose process this is: leftovers are recognised by it, besides pid and start time."""
PROFILE: Final = "--user-data-dir="

_DISABLED_FEATURES: Final = (
    "AvoidUnnecessaryBeforeUnloadCheckSync",  # a beforeunload dialog opens in pages that nobody has clicked in
    "DestroyProfileOnBrowserClose",  # closing the last window keeps the profile and its contexts
    "HttpsUpgrades",  # http:// addresses are loaded as they are, not tried over HTTPS first
    "HttpsFirstBalancedModeAutoEnable",  # the same, for profiles that Chromium takes for HTTPS-only
    "LensOverlay",  # no search button in the address bar; does not work in unofficial builds
    "MediaRouter",  # does not look for cast devices on the local network
    "PaintHolding",  # a new page is painted at once, so screenshots do not show the one before
    "ThirdPartyStoragePartitioning",  # storage state of third-party frames can be saved and restored
    "AvoidCorsURLLoaderRestartOnRedirect",  # Chromium 155 aborts intercepted preflighted redirects otherwise
    "OptimizationHints",  # no downloads of hints at start
    "NetworkTimeServiceQuerying",  # no time queries to Google at start
    "AimEnabled",  # no requests to Google about its AI mode at start
    "PreconnectToSearch",  # no connection to the default search engine at start
)
_ENABLED_FEATURES: Final = (
    "CDPScreenshotNewSurface",  # a screenshot of a whole page does not resize the page that viewers see
    "SkipListAccountsWithoutGaiaCookies",  # no requests to accounts.google.com at start
)

OWN: Final = (
    # WebRTC sends no UDP past a session's proxy. Of the spellings around, this is the one that works (measured).
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    # Warnings at least: with less, everything that pages write to their console goes to standard error as well.
    "--log-level=1",
)
"""Switches that are not Playwright's."""

_PLAYWRIGHTS: Final = (
    "--disable-field-trial-config",  # no experiments that differ from one start to the next
    "--disable-background-networking",  # no requests that no page has made
    "--disable-background-timer-throttling",  # pages that nobody looks at keep their timers
    "--disable-backgrounding-occluded-windows",  # the same for windows that others cover
    "--disable-back-forward-cache",  # going back is a navigation, with requests that can be intercepted
    "--disable-breakpad",  # crash dumps hold what pages hold, and nobody reads them
    "--disable-component-extensions-with-background-pages",  # no targets that no session has opened
    "--disable-component-update",  # no downloads after the start
    "--no-default-browser-check",  # asks nothing at the first run
    "--disable-default-apps",  # installs nothing at the first run
    "--disable-dev-shm-usage",  # shared memory in TMPDIR: a container's /dev/shm of 64 MB is too small for pages
    "--disable-extensions",  # no code in pages that neither the site nor the client has put there
    "--disable-features=" + ",".join(_DISABLED_FEATURES),
    "--enable-features=" + ",".join(_ENABLED_FEATURES),
    "--allow-pre-commit-input",  # a click right after a navigation is not dropped
    "--disable-hang-monitor",  # no dialog about a page that does not respond: the service sees to those
    "--disable-popup-blocking",  # window.open works without a click: scripts open windows
    "--disable-prompt-on-repost",  # reloading a submitted form does not wait for a confirmation
    "--disable-renderer-backgrounding",  # renderers of hidden pages keep their priority
    "--force-color-profile=srgb",  # the same colours in screenshots on every machine
    "--metrics-recording-only",  # usage statistics are not sent
    "--no-first-run",  # no welcome page
    "--password-store=basic",  # does not ask a keyring, which would wait for a password
    "--use-mock-keychain",  # the same on macOS
    "--no-service-autorun",  # leaves no background process
    "--disable-search-engine-choice-screen",  # no page before the first one
    "--unsafely-disable-devtools-self-xss-warnings",  # an operator can paste into the DevTools console
    "--enable-unsafe-swiftshader",  # WebGL in software, where there is no GPU
    "--disable-stack-profiler",  # does not sample its own stacks
    "--disable-infobars",  # full Chromium shows no bar that moves the page
    "--disable-sync",  # no account, no sync
    "--headless",  # no window system; the headless shell is always headless
    "--hide-scrollbars",  # screenshots as wide as the page
    "--mute-audio",  # a server has no loudspeaker
    # A mouse that hovers, as on a desktop: headless Chromium finds no pointer device.
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
    "--remote-debugging-pipe",  # CDP on descriptors 3 and 4, and on no port that a page could reach
    "--no-startup-window",  # starts without a page: its default context belongs to nobody
)

LEFT_OUT: Final = {
    "--disable-ipc-flooding-protection": "with it a page changes its address without end, and each change is an event "
    "for whoever drives it; without, Chromium allows 200 in ten seconds",
    "--disable-edgeupdater": "Edge on macOS only",
    "--disable-updater-scheduler": "Edge on macOS only",
    "--edge-skip-compat-layer-relaunch": "Edge on Windows only",
    "--do-not-de-elevate": "Windows only",
    "--disable-features=TcpPortRandomizationWin": "Windows only",
    "--disable-features=msForceBrowserSignIn": "Edge only",
    "--disable-features=msEdgeUpdateLaunchServicesPreferredVersion": "Edge on macOS only",
}
"""Playwright's switches that we do not use, and why. A list of features counts as one switch for each."""

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


def switches(profile: Path, marker: str, *, sandbox: bool) -> list[str]:
    """All arguments of a browser whose profile folder is `profile`."""
    without = () if sandbox else ("--no-sandbox",)
    return [*_PLAYWRIGHTS, *OWN, *without, f"{PROFILE}{profile}", MARKER + marker]


def environment(home: Path, tmp: Path) -> dict[str, str]:
    """Chromium's environment: nothing of ours that could be a secret; home and temporary files in folders of ours.

    Temporary files include shared memory (`--disable-dev-shm-usage`).
    """
    kept = {name: os.environ[name] for name in (*_PASSED_ON, _SANDBOX_HELPER) if name in os.environ}
    return {**kept, "HOME": str(home), "TMPDIR": str(tmp)}
