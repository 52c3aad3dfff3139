"""The verdict on every CDP method. Methods that are not in the tables are refused.

`PAGE_OWN` (`page_method_table`) lists methods that affect only the page; the rows here are the exceptions among those,
and methods that affect more. docs/cdp-methods.md is generated from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, Flag, auto
from types import MappingProxyType
from typing import Final

from browser_sessions.gateway.policy.page_method_table import PAGE_OWN


class Verdict(Enum):
    """What happens to a method at one level."""

    PASS = "allowed"  # noqa: S105 - no password
    CHECK = "checked"  # allowed if its parameters are harmless and name only the client's own ids
    REWRITE = "rewritten"  # allowed with parameters that we fill in or replace
    ANSWER = "answered"  # answered or performed by the gateway; Chromium does not get the original command
    REFUSE = "refused"


class Level(Flag):
    """Whether a command was sent without a `sessionId`, or on the CDP session of a target."""

    BROWSER = auto()
    PAGE = auto()
    BOTH = BROWSER | PAGE


@dataclass(frozen=True, slots=True)
class Rule:
    """The verdict on one method, and its reason."""

    verdict: Verdict
    reason: str
    own_browser: bool = False
    """A refusal that only protects other sessions of the browser: with `isolation: "browser"` the method is allowed."""


PASS, CHECK, REWRITE, ANSWER, REFUSE = Verdict
_BROWSER, _PAGE, _BOTH = Level.BROWSER, Level.PAGE, Level.BOTH

_ROWS: Final[tuple[tuple[str, str, Verdict, Level, str], ...]] = (
    ("Target", "getTargets getTargetInfo getBrowserContexts", ANSWER, _BOTH, "own contexts only"),
    (
        "Target",
        "setDiscoverTargets",
        ANSWER,
        _BOTH,
        "the gateway reports the targets of own contexts only",
    ),
    (
        "Target",
        "setAutoAttach",
        ANSWER,
        _BROWSER,
        "the gateway attaches the client to new targets of own contexts",
    ),
    ("Target", "setAutoAttach", CHECK, _PAGE, "frames, workers and pages of that target only; flat sessions only"),
    ("Target", "createTarget", REWRITE, _BOTH, "in an own context; navigated once all clients have attached"),
    ("Target", "attachToTarget", ANSWER, _BOTH, "own targets only, flat sessions only"),
    ("Target", "closeTarget activateTarget", CHECK, _BOTH, "own targets only"),
    ("Target", "detachFromTarget", CHECK, _BOTH, "sessions of this connection only"),
    (
        "Target",
        "createBrowserContext",
        ANSWER,
        _BOTH,
        "owned by the session, disposed of when the client disconnects; uses the session's proxy",
    ),
    ("Target", "disposeBrowserContext", ANSWER, _BOTH, "nested contexts only, never the session's own"),
    (
        "Target",
        "autoAttachRelated",
        REFUSE,
        _BOTH,
        "would bypass the gateway; setAutoAttach on the target does the same",
    ),
    (
        "Target",
        "attachToBrowserTarget",
        ANSWER,
        _BROWSER,
        "the session has the same rules as the browser level of this connection",
    ),
    ("Target", "attachToBrowserTarget", REFUSE, _PAGE, "gives access to the whole browser"),
    ("Target", "exposeDevToolsProtocol", REFUSE, _BOTH, "gives access to the whole browser"),
    (
        "Target",
        "sendMessageToTarget",
        REFUSE,
        _BOTH,
        "the command inside the string would not be checked; not needed with flat sessions",
    ),
    ("Target", "setRemoteLocations", REFUSE, _BOTH, "makes the browser connect to any address"),
    (
        "Target",
        "getDevToolsTarget openDevTools",
        REFUSE,
        _BOTH,
        "the front end is a privileged page outside the session",
    ),
    ("Browser", "getVersion", PASS, _BOTH, "reveals nothing about sessions"),
    ("Browser", "close", ANSWER, _BOTH, "closes the client's connection, not the browser or the session"),
    (
        "Browser",
        "grantPermissions setPermission",
        REWRITE,
        _BOTH,
        "in an own context, known names only; nothing that all contexts of a browser share, such as the clipboard",
    ),
    ("Browser", "resetPermissions cancelDownload", REWRITE, _BOTH, "in an own context"),
    ("Browser", "setDownloadBehavior", ANSWER, _BOTH, "the folder is the session's own"),
    (
        "Browser",
        "getWindowForTarget",
        REWRITE,
        _BOTH,
        "own targets only, sent on the target's session: an unknown id crashes the browser (156)",
    ),
    (
        "Browser",
        "getWindowBounds setWindowBounds setContentsSize",
        CHECK,
        _BOTH,
        "windows that getWindowForTarget returned to this client",
    ),
    ("Browser", "crash crashGpuProcess", REFUSE, _BOTH, "ends or slows all sessions of the browser"),
    ("Browser", "getBrowserCommandLine", REFUSE, _BOTH, "names folders of the host"),
    ("Browser", "getHistograms getHistogram", REFUSE, _BOTH, "statistics of all sessions"),
    ("Browser", "executeBrowserCommand setDockTile", REFUSE, _BOTH, "affects the browser's own window"),
    ("Browser", "addMockCamera", REFUSE, _BOTH, "a camera for all pages of the browser"),
    (
        "Browser",
        "addPrivacySandboxEnrollmentOverride getGlobalPrivacyControl setGlobalPrivacyControl",
        REFUSE,
        _BOTH,
        "a setting of the whole browser",
    ),
    ("Schema", "getDomains", PASS, _BOTH, "reveals nothing about sessions"),
    ("IO", "read close", CHECK, _BOTH, "handles that this client got in responses"),
    ("IO", "resolveBlob", CHECK, _PAGE, "a blob of the page; its uuid becomes a handle of this client"),
    (
        "Storage",
        "getCookies setCookies clearCookies",
        REWRITE,
        _BOTH,
        "in an own context; on a page's session, the page's",
    ),
    (
        "Storage",
        "overrideQuotaForOrigin",
        CHECK,
        _PAGE,
        "a negative size or one of more than 63 bits crashes the browser (156)",
    ),
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
        "too small a paper size crashes the browser (156); a stream in the response becomes a handle of this client",
    ),
    (
        "Page",
        "startScreenRecording stopScreenRecording",
        REFUSE,
        _PAGE,
        "a stop right after a start crashes the browser (156), and so does audio; Page.startScreencast does not",
    ),
    ("Page", "captureScreenshot", CHECK, _PAGE, "pixels are limited: the GPU process is shared"),
    ("Emulation", "setVisibleSize", CHECK, _PAGE, "pixels are limited: the GPU process is shared"),
    *(
        (
            domain,
            "setDeviceMetricsOverride",
            CHECK,
            _PAGE,
            "pixels and scales are limited: the GPU process is shared; an unknown posture crashes the browser (156)",
        )
        for domain in ("Page", "Emulation")
    ),
    ("Emulation", "setDisplayFeaturesOverride", CHECK, _PAGE, "an empty list crashes the browser (156)"),
    (
        "Emulation",
        "addScreen updateScreen removeScreen setPrimaryScreen",
        REFUSE,
        _PAGE,
        "screens of the whole browser",
    ),
    ("DOM", "setFileInputFiles", CHECK, _PAGE, "files that were uploaded to the session only"),
    ("Input", "dispatchDragEvent", CHECK, _PAGE, "files that were uploaded to the session only"),
    ("Input", "dispatchKeyEvent", CHECK, _PAGE, "no keys that paste: all contexts of a browser share one clipboard"),
    (
        "Input",
        "dispatchTouchEvent dispatchMouseEvent emulateTouchFromMouseEvent",
        CHECK,
        _PAGE,
        "a touch at a negative time crashes the browser (156)",
    ),
    ("Input", "imeSetComposition", CHECK, _PAGE, "a negative replacement range crashes the browser (156)"),
    ("Input", "synthesizeTapGesture", CHECK, _PAGE, "a billion taps hang the browser (156)"),
    ("Fetch", "continueRequest", CHECK, _PAGE, "a replaced url must be http or https"),
    ("Fetch", "takeResponseBodyAsStream", CHECK, _PAGE, "the stream becomes a handle of this client"),
    ("Network", "loadNetworkResource", CHECK, _PAGE, "http or https only; the stream becomes a handle of this client"),
    ("Network", "configureDurableMessages", CHECK, _PAGE, "bytes are limited: the network process is shared"),
    (
        "Runtime",
        "runIfWaitingForDebugger",
        ANSWER,
        _PAGE,
        "the target runs once all clients that it waits for have sent it",
    ),
    (
        "Memory",
        "getAllTimeSamplingProfile getSamplingProfile startSampling stopSampling getBrowserSamplingProfile",
        REFUSE,
        _BOTH,
        "profiles native memory, including that of the browser process",
    ),
    (
        "Memory",
        "simulatePressureNotification setPressureNotificationsSuppressed",
        REFUSE,
        _BOTH,
        "affects all processes of the browser",
    ),
    (
        "Memory",
        "prepareForLeakDetection",
        REFUSE,
        _BOTH,
        "crashes the page, and the browser in 2 of 100 tries if a gesture is in progress (156)",
    ),
    (
        "SystemInfo",
        "getInfo",
        REFUSE,
        _BROWSER,
        "describes the host; with isolation: browser, a client gets it without the command line",
    ),
    (
        "SystemInfo",
        "getProcessInfo getFeatureState",
        REFUSE,
        _BOTH,
        "describes the host and the processes of all sessions",
    ),
    (
        "Tracing",
        "end getCategories getTrackEventDescriptor recordClockSyncMarker requestMemoryDump start",
        REFUSE,
        _BOTH,
        "records all sessions of the browser",
    ),
    (
        "Autofill",
        "disable enable setAddresses trigger",
        REFUSE,
        _BOTH,
        "stored in the profile that all contexts of a browser share",
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
        "one radio for all pages of the browser",
    ),
    (
        "Cast",
        "disable enable setSinkToUse startDesktopMirroring startTabMirroring stopCasting",
        REFUSE,
        _BOTH,
        "finds and controls devices in the host's network",
    ),
    (
        "DeviceAccess",
        "cancelPrompt disable enable selectPrompt",
        REFUSE,
        _BOTH,
        "gives a page access to the host's devices",
    ),
    (
        "Extensions",
        """
        clearStorageItems getExtensions getStorageItems loadUnpacked removeStorageItems setStorageItems triggerAction
        uninstall
        """,
        REFUSE,
        _BOTH,
        "affects the whole browser, reads folders of the host",
    ),
    (
        "PWA",
        "changeAppUserSettings getOsAppState install launch launchFilesInApp openCurrentPageInApp uninstall",
        REFUSE,
        _BOTH,
        "installs on the host, opens files of the host",
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
        "emulates a card reader of the host",
    ),
    ("Tethering", "bind unbind", REFUSE, _BOTH, "opens ports of the host"),
)

_OWN_BROWSER: Final = frozenset({"Tracing", "Memory"})
"""Domains whose refusals only protect other sessions (as does that of `SystemInfo.getInfo`)."""


def _build() -> Mapping[tuple[str, Level], Rule]:
    rules: dict[tuple[str, Level], Rule] = {}

    def add(domain: str, names: str, levels: Level, rule: Rule) -> None:
        for name in names.split():
            for level in levels:
                if (f"{domain}.{name}", level) in rules:
                    raise ValueError(f"{domain}.{name} is in the tables twice")
                rules[f"{domain}.{name}", level] = rule

    for domain, names, verdict, levels, reason in _ROWS:
        own_browser = verdict is REFUSE and (domain in _OWN_BROWSER or (domain, names) == ("SystemInfo", "getInfo"))
        add(domain, names, levels, Rule(verdict, reason, own_browser))
    for domain, (reason, names) in PAGE_OWN.items():
        add(domain, names, _PAGE, Rule(PASS, reason))
    return MappingProxyType(rules)


RULES: Final[Mapping[tuple[str, Level], Rule]] = _build()
"""(method, level): rule. Other methods are refused as Chromium refuses an unknown one."""

METHODS: Final[frozenset[str]] = frozenset(method for method, _ in RULES)
"""Every method that has been reviewed."""
