"""Chromium's command line switches and environment variables, each with its reason.

Most switches are Playwright's own defaults, since Playwright is tested with them. A test compares them with those of
the installed Playwright: a new one there must be added here or to `LEFT_OUT`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

MARKER: Final = "--browser-sessions-run="
"""Ignored by Chromium. Identifies processes that a dead run left behind, together with pid and start time."""
PROFILE: Final = "--user-data-dir="

_DISABLED_FEATURES: Final = (
    "AvoidUnnecessaryBeforeUnloadCheckSync",  # beforeunload dialogs open in pages without any user interaction too
    "DestroyProfileOnBrowserClose",  # closing the last window keeps the profile and its contexts
    "HttpsUpgrades",  # http:// addresses are loaded as they are, not tried over HTTPS first
    "HttpsFirstBalancedModeAutoEnable",  # the same, for profiles that Chromium classifies as HTTPS-only
    "LensOverlay",  # no search button in the address bar; does not work in unofficial builds
    "MediaRouter",  # does not search the local network for cast devices
    "PaintHolding",  # a new page is painted at once, so a screenshot never shows the previous one
    "ThirdPartyStoragePartitioning",  # storage state of third-party frames can be saved and restored
    "AvoidCorsURLLoaderRestartOnRedirect",  # Chromium 155 aborts intercepted preflighted redirects otherwise
    "OptimizationHints",  # no downloads of hints at start
    "NetworkTimeServiceQuerying",  # no time queries to Google at start
    "AimEnabled",  # no requests to Google about its AI mode at start
    "PreconnectToSearch",  # no connection to the default search engine at start
)
_ENABLED_FEATURES: Final = (
    "SkipListAccountsWithoutGaiaCookies",  # no requests to accounts.google.com at start
)

OWN: Final = (
    # WebRTC must not send UDP past a session's proxy. Of the spellings in use, only this one works (measured).
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    # HTTP/3 is not tried: it is UDP, which no proxy of a session carries.
    "--disable-quic",
    # Warnings and above: at lower levels the pages' console output goes to standard error too.
    "--log-level=1",
)
"""Switches that Playwright does not use."""
NO_NAMES: Final = "--host-resolver-rules=MAP * ^NOTFOUND , EXCLUDE 127.0.0.1"
"""Chromium looks up no names: a proxy gets them as they are, and ours are on 127.0.0.1. Otherwise WebRTC asks name
servers, and the local network by multicast, for the host names in a page's ICE candidates, past the proxy."""
PAGES_LAST: Final = "--zygote-cmd-prefix=nice -n 7"
"""Renderers give way to their browser process, which all sessions of the browser share (docs/decisions/0016). The
zygotes, from which renderers are forked, are started through `nice` (coreutils), which must be on PATH."""

_FROM_PLAYWRIGHT: Final = (
    "--disable-field-trial-config",  # no experiments that differ between starts
    "--disable-background-networking",  # no requests other than the pages'
    "--disable-background-timer-throttling",  # background pages keep their timers
    "--disable-backgrounding-occluded-windows",  # so do covered windows
    "--disable-back-forward-cache",  # going back is a navigation, with requests that can be intercepted
    "--disable-breakpad",  # crash dumps contain page data and are not used
    "--disable-component-extensions-with-background-pages",  # no targets that no session has opened
    "--disable-component-update",  # no downloads after the start
    "--no-default-browser-check",  # no question at the first run
    "--disable-default-apps",  # no installation at the first run
    "--disable-dev-shm-usage",  # shared memory in TMPDIR: a container's /dev/shm of 64 MB is too small for pages
    "--disable-extensions",  # no code in pages but the site's and the client's
    "--disable-features=" + ",".join(_DISABLED_FEATURES),
    "--enable-features=" + ",".join(_ENABLED_FEATURES),
    "--allow-pre-commit-input",  # a click right after a navigation is not dropped
    "--disable-hang-monitor",  # no dialog about an unresponsive page: the service handles those
    "--disable-popup-blocking",  # window.open works without a click: scripts open windows
    "--disable-prompt-on-repost",  # reloading a submitted form does not wait for a confirmation
    "--disable-renderer-backgrounding",  # renderers of hidden pages keep their priority
    "--force-color-profile=srgb",  # the same colours in screenshots on every machine
    "--metrics-recording-only",  # usage statistics are not sent
    "--no-first-run",  # no welcome page
    "--password-store=basic",  # no keyring, which would prompt for a password
    "--use-mock-keychain",  # the same on macOS
    "--no-service-autorun",  # no background process
    "--disable-search-engine-choice-screen",  # no page before the first one
    "--unsafely-disable-devtools-self-xss-warnings",  # an operator can paste into the DevTools console
    "--enable-unsafe-swiftshader",  # WebGL in software, where there is no GPU
    "--disable-stack-profiler",  # no sampling of Chromium's own stacks
    "--disable-infobars",  # no bar of full Chromium that moves the page
    "--disable-sync",  # no account, no sync
    "--headless",  # no window system; the headless shell is always headless
    "--hide-scrollbars",  # screenshots as wide as the page
    "--mute-audio",  # servers have no speakers
    # A mouse that can hover, as on a desktop: headless Chromium finds no pointer device.
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
    "--remote-debugging-pipe",  # CDP on descriptors 3 and 4 instead of a port that pages could reach
    "--no-startup-window",  # no page in the default context, which no session uses
)

LEFT_OUT: Final = {
    "--disable-ipc-flooding-protection": "with it a page can change its address without limit, and each change is an "
    "event for every client; without it, Chromium allows 200 in ten seconds",
    "--disable-edgeupdater": "Edge on macOS only",
    "--disable-updater-scheduler": "Edge on macOS only",
    "--enable-features=CDPScreenshotNewSurface": "the browser crashes (Chromium 156) when a page does while its "
    "screenshot is taken; without it, the page is resized for a screenshot of the whole page",
    "--edge-skip-compat-layer-relaunch": "Edge on Windows only",
    "--do-not-de-elevate": "Windows only",
    "--disable-features=TcpPortRandomizationWin": "Windows only",
    "--disable-features=msForceBrowserSignIn": "Edge only",
    "--disable-features=msEdgeUpdateLaunchServicesPreferredVersion": "Edge on macOS only",
}
"""Playwright's switches that we do not use, and why. Each feature in a list counts as one switch."""

_INHERITED: Final = (
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
"""Locations of programs, libraries and fonts; language and time zone of sessions that set none."""
_SANDBOX_HELPER: Final = "CHROME_DEVEL_SANDBOX"
"""Path of the setuid sandbox helper, for systems without user namespaces."""


def switches(
    profile: Path, marker: str, *, sandbox: bool, proxy: str | None = None, trusted_key: str | None = None
) -> list[str]:
    """The complete command line arguments, for a browser with the profile folder `profile`. `proxy` is for everything
    outside the contexts that have one of their own; `trusted_key` is the hash of a key that certificates of every site
    may have."""
    proxied = () if proxy is None else (f"--proxy-server={proxy}", "--proxy-bypass-list=<-loopback>", NO_NAMES)
    trusting = () if trusted_key is None else (f"--ignore-certificate-errors-spki-list={trusted_key}",)
    no_sandbox = () if sandbox else ("--no-sandbox",)
    pages_last = () if shutil.which("nice") is None else (PAGES_LAST,)
    return [
        *_FROM_PLAYWRIGHT,
        *OWN,
        *pages_last,
        *no_sandbox,
        *proxied,
        *trusting,
        f"{PROFILE}{profile}",
        MARKER + marker,
    ]


def environment(home: Path, tmp: Path) -> dict[str, str]:
    """Chromium's environment: only the variables above, so no secret of ours, with its own HOME and TMPDIR.

    Shared memory is in TMPDIR too (`--disable-dev-shm-usage`).
    """
    inherited = {name: os.environ[name] for name in (*_INHERITED, _SANDBOX_HELPER) if name in os.environ}
    return {**inherited, "HOME": str(home), "TMPDIR": str(tmp)}
