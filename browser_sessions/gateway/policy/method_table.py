"""Every method of the protocol and what is decided on it. Tables; whoever is not in them is refused.

`PAGE_OWN` (`page_method_table`) has what belongs to a page; the rows here have what reaches further, and the
exceptions among a page's own. docs/cdp-methods.md is generated from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, Flag, auto
from types import MappingProxyType
from typing import Final

from browser_sessions.gateway.policy.page_method_table import PAGE_OWN


class Verdict(Enum):
    """What becomes of a method where it may be called at all."""

    PASS = "allowed"  # noqa: S105 - no password
    CHECK = "checked"  # allowed where its parameters are harmless and the client's own
    REWRITE = "rewritten"  # allowed with parameters that we fill in or replace
    ANSWER = "answered"  # by us, or carried out by us; Chromium does not get it as it came
    REFUSE = "refused"


class Level(Flag):
    """Where a command was sent: without a `sessionId`, or on the CDP session of a target."""

    BROWSER = auto()
    PAGE = auto()
    BOTH = BROWSER | PAGE


@dataclass(frozen=True, slots=True)
class Rule:
    """The decision on one method, and why."""

    verdict: Verdict
    why: str
    own_browser: bool = False
    """A refusal that protects neighbours only: with `isolation: "browser"` there are none and the method passes."""


PASS, CHECK, REWRITE, ANSWER, REFUSE = Verdict
_BROWSER, _PAGE, _BOTH = Level.BROWSER, Level.PAGE, Level.BOTH

_ROWS: Final[tuple[tuple[str, str, Verdict, Level, str], ...]] = (
    ("Target", "getTargets getTargetInfo getBrowserContexts", ANSWER, _BOTH, "own contexts only"),
    (
        "Target",
        "setDiscoverTargets",
        ANSWER,
        _BOTH,
        "the service tells of targets, of own contexts only",
    ),
    (
        "Target",
        "setAutoAttach",
        ANSWER,
        _BROWSER,
        "the service attaches the client to new targets of own contexts; below, see page level",
    ),
    ("Target", "setAutoAttach", CHECK, _PAGE, "frames, workers and pages of that target only; flat sessions only"),
    ("Target", "createTarget", REWRITE, _BOTH, "in an own context, and sent to its address when all have attached"),
    ("Target", "attachToTarget", ANSWER, _BOTH, "own targets only, flat sessions only"),
    ("Target", "closeTarget activateTarget", CHECK, _BOTH, "own targets only"),
    ("Target", "detachFromTarget", CHECK, _BOTH, "sessions of this connection only"),
    (
        "Target",
        "createBrowserContext",
        ANSWER,
        _BOTH,
        "owned by the session and gone with the client; the proxy stays the session's",
    ),
    ("Target", "disposeBrowserContext", ANSWER, _BOTH, "nested contexts only, never the session's own"),
    (
        "Target",
        "autoAttachRelated",
        REFUSE,
        _BOTH,
        "attaches past the service; setAutoAttach on the target does the same",
    ),
    (
        "Target",
        "attachToBrowserTarget",
        ANSWER,
        _BROWSER,
        "a session of the gateway's own that means the browser level of this connection, no more",
    ),
    ("Target", "attachToBrowserTarget", REFUSE, _PAGE, "a session with the whole browser"),
    ("Target", "exposeDevToolsProtocol", REFUSE, _BOTH, "a session with the whole browser"),
    (
        "Target",
        "sendMessageToTarget",
        REFUSE,
        _BOTH,
        "a command inside a string would pass undecided; flat sessions do not need it",
    ),
    ("Target", "setRemoteLocations", REFUSE, _BOTH, "makes the browser connect to any address"),
    (
        "Target",
        "getDevToolsTarget openDevTools",
        REFUSE,
        _BOTH,
        "the front end is a privileged page outside the session",
    ),
    ("Browser", "getVersion", PASS, _BOTH, "says nothing of any session"),
    ("Browser", "close", ANSWER, _BOTH, "ends the client's connection, not the browser and not the session"),
    (
        "Browser",
        "grantPermissions setPermission",
        REWRITE,
        _BOTH,
        "in an own context, known names only; not what all contexts of a browser share, as the clipboard",
    ),
    ("Browser", "resetPermissions cancelDownload", REWRITE, _BOTH, "in an own context"),
    ("Browser", "setDownloadBehavior", ANSWER, _BOTH, "the folder is the session's own"),
    (
        "Browser",
        "getWindowForTarget",
        REWRITE,
        _BOTH,
        "own targets only, asked on the target itself: an id that Chromium does not know kills the browser (156)",
    ),
    (
        "Browser",
        "getWindowBounds setWindowBounds setContentsSize",
        CHECK,
        _BOTH,
        "windows that getWindowForTarget told this client",
    ),
    ("Browser", "crash crashGpuProcess", REFUSE, _BOTH, "ends or slows every session of the browser"),
    ("Browser", "getBrowserCommandLine", REFUSE, _BOTH, "names folders of the host"),
    ("Browser", "getHistograms getHistogram", REFUSE, _BOTH, "counts what every session does"),
    ("Browser", "executeBrowserCommand setDockTile", REFUSE, _BOTH, "acts on the browser's own window"),
    ("Browser", "addMockCamera", REFUSE, _BOTH, "a camera for every page of the browser"),
    (
        "Browser",
        "addPrivacySandboxEnrollmentOverride getGlobalPrivacyControl setGlobalPrivacyControl",
        REFUSE,
        _BOTH,
        "a setting of the whole browser",
    ),
    ("Schema", "getDomains", PASS, _BOTH, "says nothing of any session"),
    ("IO", "read close", CHECK, _BOTH, "handles that answers gave this client"),
    ("IO", "resolveBlob", CHECK, _PAGE, "a blob of the page's own; its uuid becomes a handle of this client"),
    (
        "Storage",
        "getCookies setCookies clearCookies",
        REWRITE,
        _BOTH,
        "in an own context; on a page's session, the page's",
    ),
    ("Storage", "overrideQuotaForOrigin", CHECK, _PAGE, "a size below zero or beyond 64 bits kills the browser (156)"),
    (
        "Page",
        "navigate",
        CHECK,
        _PAGE,
        "http, https, data, blob, about:blank and javascript only; others reach the host",
    ),
    ("Page", "setDownloadBehavior", ANSWER, _PAGE, "the folder is the session's own"),
    (
        "Page",
        "printToPDF",
        CHECK,
        _PAGE,
        "paper too small kills the browser (156); a stream in the answer becomes a handle of this client",
    ),
    (
        "Page",
        "startScreenRecording stopScreenRecording",
        CHECK,
        _PAGE,
        "a stream in the answer becomes a handle of this client",
    ),
    ("Page", "captureScreenshot", CHECK, _PAGE, "pixels are capped: the GPU process is everybody's"),
    ("Emulation", "setVisibleSize", CHECK, _PAGE, "pixels are capped: the GPU process is everybody's"),
    *(
        (
            domain,
            "setDeviceMetricsOverride",
            CHECK,
            _PAGE,
            "pixels are capped: the GPU process is everybody's; an unknown posture kills the browser (156)",
        )
        for domain in ("Page", "Emulation")
    ),
    ("Emulation", "setDisplayFeaturesOverride", CHECK, _PAGE, "an empty list kills the browser (156)"),
    (
        "Emulation",
        "addScreen updateScreen removeScreen setPrimaryScreen",
        REFUSE,
        _PAGE,
        "screens of the whole browser",
    ),
    ("DOM", "setFileInputFiles", CHECK, _PAGE, "files in the session's own upload folder only"),
    ("Input", "dispatchDragEvent", CHECK, _PAGE, "files in the session's own upload folder only"),
    ("Input", "dispatchKeyEvent", CHECK, _PAGE, "no keys that paste: all contexts of a browser share one clipboard"),
    ("Input", "imeSetComposition", CHECK, _PAGE, "a replacement range below zero kills the browser (156)"),
    ("Input", "synthesizeTapGesture", CHECK, _PAGE, "a thousand million taps stop the browser (156)"),
    ("Fetch", "continueRequest", CHECK, _PAGE, "another url may be http or https only"),
    ("Fetch", "takeResponseBodyAsStream", CHECK, _PAGE, "the stream becomes a handle of this client"),
    ("Network", "loadNetworkResource", CHECK, _PAGE, "http or https only; the stream becomes a handle of this client"),
    ("Network", "configureDurableMessages", CHECK, _PAGE, "bytes are capped: the network process is everybody's"),
    ("Runtime", "runIfWaitingForDebugger", ANSWER, _PAGE, "the target runs once all who hold it have asked"),
    (
        "Memory",
        "getAllTimeSamplingProfile getSamplingProfile startSampling stopSampling getBrowserSamplingProfile",
        REFUSE,
        _BOTH,
        "profiles native memory, the browser process's included",
    ),
    (
        "Memory",
        "simulatePressureNotification setPressureNotificationsSuppressed",
        REFUSE,
        _BOTH,
        "reaches every process of the browser",
    ),
    (
        "SystemInfo",
        "getInfo",
        REFUSE,
        _BROWSER,
        "tells of the host; with a browser of its own a client gets it without the command line",
    ),
    (
        "SystemInfo",
        "getProcessInfo getFeatureState",
        REFUSE,
        _BOTH,
        "tells of the host and of every session's processes",
    ),
    (
        "Tracing",
        "end getCategories getTrackEventDescriptor recordClockSyncMarker requestMemoryDump start",
        REFUSE,
        _BOTH,
        "records every session of the browser",
    ),
    (
        "Autofill",
        "disable enable setAddresses trigger",
        REFUSE,
        _BOTH,
        "kept by the profile that all contexts of a browser stand on",
    ),
    (
        "BluetoothEmulation",
        """
        addCharacteristic addDescriptor addService disable enable removeCharacteristic removeDescriptor
        removeService setSimulatedCentralState simulateAdvertisement simulateCharacteristicOperationResponse
        simulateDescriptorOperationResponse simulateGATTDisconnection simulateGATTOperationResponse
        simulatePreconnectedPeripheral
        """,
        REFUSE,
        _BOTH,
        "one radio for every page of the browser",
    ),
    (
        "Cast",
        "disable enable setSinkToUse startDesktopMirroring startTabMirroring stopCasting",
        REFUSE,
        _BOTH,
        "finds and drives devices in the host's network",
    ),
    ("DeviceAccess", "cancelPrompt disable enable selectPrompt", REFUSE, _BOTH, "gives a page the host's own devices"),
    (
        "Extensions",
        """
        clearStorageItems getExtensions getStorageItems loadUnpacked removeStorageItems setStorageItems triggerAction
        uninstall
        """,
        REFUSE,
        _BOTH,
        "installed in the whole browser, read from folders of the host",
    ),
    (
        "PWA",
        "changeAppUserSettings getOsAppState install launch launchFilesInApp openCurrentPageInApp uninstall",
        REFUSE,
        _BOTH,
        "installed on the host, opens files of the host",
    ),
    (
        "SmartCardEmulation",
        """
        disable enable reportBeginTransactionResult reportConnectResult reportDataResult reportError
        reportEstablishContextResult reportGetStatusChangeResult reportListReadersResult reportPlainResult
        reportReleaseContextResult reportStatusResult
        """,
        REFUSE,
        _BOTH,
        "stands in for a reader of the host",
    ),
    ("Tethering", "bind unbind", REFUSE, _BOTH, "opens ports of the host"),
)

_OWN_BROWSER: Final = frozenset({"Tracing", "Memory"})
"""Domains whose refusals protect neighbours only (`isolation: "browser"`); and `SystemInfo.getInfo`."""


def _build() -> Mapping[tuple[str, Level], Rule]:
    rules: dict[tuple[str, Level], Rule] = {}

    def add(domain: str, names: str, levels: Level, rule: Rule) -> None:
        for name in names.split():
            for level in levels:
                if (f"{domain}.{name}", level) in rules:
                    raise ValueError(f"{domain}.{name} stands in the tables twice")
                rules[f"{domain}.{name}", level] = rule

    for domain, names, verdict, levels, why in _ROWS:
        neighbours_only = verdict is REFUSE and (domain in _OWN_BROWSER or (domain, names) == ("SystemInfo", "getInfo"))
        add(domain, names, levels, Rule(verdict, why, neighbours_only))
    for domain, (why, names) in PAGE_OWN.items():
        add(domain, names, _PAGE, Rule(PASS, why))
    return MappingProxyType(rules)


RULES: Final[Mapping[tuple[str, Level], Rule]] = _build()
"""Method and level: rule. What is not here is refused as Chromium refuses a method that it does not know."""

METHODS: Final[frozenset[str]] = frozenset(method for method, _ in RULES)
"""Every method that somebody has looked at."""
