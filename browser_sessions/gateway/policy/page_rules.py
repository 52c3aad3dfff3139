"""Rules for page-level methods whose parameters affect more than the page: files, URLs, shared processes, crashes."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

from browser_sessions.cdp.messages import Command
from browser_sessions.domain.limits import MAX_PIXELS, MAX_SIDE
from browser_sessions.domain.paste_keys import pastes
from browser_sessions.domain.urls import REFUSED, may_open, scheme_of
from browser_sessions.gateway.policy.client_options import Options
from browser_sessions.gateway.scope.client_scope import Scope
from browser_sessions.gateway.scope.command_decision import (
    INVALID_PARAMS,
    SERVER_ERROR,
    Ask,
    CaptureWholePage,
    Decision,
    Do,
    GiveFolder,
    Pass,
    Reading,
    Refuse,
    Resume,
)

MAX_SCALE: Final = 10.0
"""Device pixels per CSS pixel: more than twice that of any device in Playwright's list."""

_NO_FILES: Final = "files: must be paths of this session's uploads; POST .../uploads answers with one"


def _number(value: object) -> float | None:
    """`value` if it is a finite number, otherwise None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


def too_large(width: object, height: object, scale: object = 1) -> bool:
    """Whether an image of this size has more than `MAX_PIXELS`. A missing side counts as one pixel."""
    sides = [1.0 if side is None else _number(side) for side in (width, height, scale)]
    if None in sides:
        return False  # not a number: Chromium refuses it
    across, down, factor = (abs(side or 0.0) for side in sides)
    return factor > MAX_SCALE or max(across, 1) * max(down, 1) * max(factor, 1) ** 2 > MAX_PIXELS


def _too_many_pixels(name: str) -> Refuse:
    return Refuse(INVALID_PARAMS, f"{name}: at most {MAX_PIXELS} pixels and {MAX_SCALE:g} device pixels per CSS pixel")


def _metrics(command: Command, scope: Scope, options: Options) -> Decision:
    given = command.params.get
    sizes = [
        (given("width"), given("height"), given("deviceScaleFactor") or 1),
        (given("screenWidth"), given("screenHeight"), 1),
    ]
    width, height, _ = sizes[0]
    if bool(width) != bool(height) and too_large(width or MAX_SIDE, height or MAX_SIDE):
        return _too_many_pixels("width, height, deviceScaleFactor")  # a missing side is that of the window
    if any(too_large(*size) for size in sizes):
        return _too_many_pixels("width, height, deviceScaleFactor")
    return Pass()


def _screenshot(command: Command, scope: Scope, options: Options) -> Decision:
    clip = command.params.get("clip")
    if isinstance(clip, dict) and too_large(clip.get("width"), clip.get("height"), clip.get("scale", 1)):
        return _too_many_pixels("clip")
    if clip is None and command.params.get("captureBeyondViewport") is True:
        return Do(CaptureWholePage())
    return Pass()


def _navigate(command: Command, scope: Scope, options: Options) -> Decision:
    url = command.params["url"]
    scheme = scheme_of(url)
    if not scheme:
        return Refuse(SERVER_ERROR, "Cannot navigate to invalid URL")
    if scheme != "javascript" and not may_open(url):  # a script has no more rights than the page
        return Refuse(INVALID_PARAMS, f"url: {REFUSED}")
    return Pass()


def _continue_request(command: Command, scope: Scope, options: Options) -> Decision:
    url = command.params.get("url")
    if isinstance(url, str) and scheme_of(url) not in ("http", "https"):
        return Refuse(INVALID_PARAMS, "url: must be an http: or https: URL")
    return Pass()


def _load_network_resource(command: Command, scope: Scope, options: Options) -> Decision:
    if scheme_of(command.params["url"]) not in ("http", "https"):
        return Refuse(INVALID_PARAMS, "Unsupported URL scheme")
    return _with_stream(command, scope, options)


def _with_stream(command: Command, scope: Scope, options: Options) -> Decision:
    return Ask(command.params, command.session_id, Reading.STREAM)


def _print_to_pdf(command: Command, scope: Scope, options: Options) -> Decision:
    if command.params.get("transferMode") == "ReturnAsStream":
        return _with_stream(command, scope, options)
    return Pass()


def _files_refused(files: list[str], options: Options) -> bool:
    """Whether `files` names anything but uploads."""
    return any(file not in options.uploads for file in files)


def _set_file_input_files(command: Command, scope: Scope, options: Options) -> Decision:
    files = command.params["files"]
    if _files_refused(files, options):
        return Refuse(INVALID_PARAMS, _NO_FILES)
    return Do(GiveFolder()) if any(file.endswith("/") for file in files) else Pass()


def _dispatch_drag_event(command: Command, scope: Scope, options: Options) -> Decision:
    files = command.params.get("data", {}).get("files", [])
    return Refuse(INVALID_PARAMS, _NO_FILES) if _files_refused(files, options) else Pass()


def _dispatch_key_event(command: Command, scope: Scope, options: Options) -> Decision:
    """Refuses keys and editing commands that paste from the clipboard, which sessions share."""
    if options.own_browser or not _pastes(command.params):
        return Pass()
    text = "Pasting is off: all sessions of a browser share the clipboard; use Input.insertText or isolation: browser"
    return Refuse(INVALID_PARAMS, text)


def _pastes(params: dict[str, Any]) -> bool:
    commands = params.get("commands")
    if isinstance(commands, list) and any(isinstance(c, str) and "paste" in c.lower() for c in commands):
        return True
    key, code = (name if isinstance(name, str) else "" for name in (params.get("key"), params.get("code")))
    virtual_key, modifiers = (_number(params.get(name)) or 0 for name in ("windowsVirtualKeyCode", "modifiers"))
    return pastes(key, code, virtual_key, int(modifiers))


def _shows_certificates(command: Command, scope: Scope, options: Options) -> Decision:
    """Other sessions of the browser accept a chain that contains the certificate of the egress relay."""
    if options.client_certificates and not options.own_browser:
        return Refuse(SERVER_ERROR, f"{command.method} needs isolation: browser in a session with client_certificates")
    return Pass()


def _resume(command: Command, scope: Scope, options: Options) -> Decision:
    return Pass() if command.session_id is None else Do(Resume(command.session_id))


PAGE_HANDLERS: Final = {
    "Page.navigate": _navigate,
    "Page.printToPDF": _print_to_pdf,
    "Page.captureScreenshot": _screenshot,
    "Page.setDeviceMetricsOverride": _metrics,
    "Emulation.setDeviceMetricsOverride": _metrics,
    "Emulation.setVisibleSize": _metrics,
    "DOM.setFileInputFiles": _set_file_input_files,
    "Input.dispatchDragEvent": _dispatch_drag_event,
    "Input.dispatchKeyEvent": _dispatch_key_event,
    "Fetch.continueRequest": _continue_request,
    "Fetch.takeResponseBodyAsStream": _with_stream,
    "Network.loadNetworkResource": _load_network_resource,
    "Network.getCertificate": _shows_certificates,
    "Security.enable": _shows_certificates,
    "Runtime.runIfWaitingForDebugger": _resume,
}
