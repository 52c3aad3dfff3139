"""The OpenAPI document, and the same for people: one static page, no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import Any, Final

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi

from browser_sessions.api.errors import Problem

_VALIDATION_ERROR: Final[dict[str, Any]] = {
    "title": "ValidationError",
    "type": "object",
    "required": ["loc", "msg", "type"],
    "properties": {
        "loc": {"type": "array", "title": "Location", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
        "msg": {"type": "string", "title": "Message"},
        "type": {"type": "string", "title": "Error Type"},
    },
}
"""FastAPI's, without `input` and `ctx`: ours never send them, for they would repeat secrets."""

WEBSOCKETS: Final[dict[str, dict[str, Any]]] = {
    "/v1/browser/sessions/{session_id}/cdp": {
        "description": (
            "The session as a whole browser over the Chrome DevTools Protocol, for Playwright, Puppeteer and other "
            "clients. `connect_url` is this address with a ticket."
        ),
        "query": {"ticket": "from `connect_url`, instead of a credential"},
    },
    "/v1/browser/sessions/{session_id}/cdp/devtools/browser/{id}": {
        "description": "The same, at the path that Chromium itself would name.",
        "query": {"ticket": "from `connect_url`, instead of a credential"},
    },
    "/v1/browser/sessions/{session_id}/cdp/devtools/page/{page_id}": {
        "description": "One page of the session over the Chrome DevTools Protocol.",
        "query": {"ticket": "from `connect_url`, instead of a credential"},
    },
    "/v1/browser/sessions/{session_id}/live": {
        "description": (
            "JPEG frames of one page out; input in, from whoever has control. `live_url` is this address with a ticket."
        ),
        "query": {
            "ticket": "from `live_url` or POST …/live-ticket, instead of a credential",
            "page_id": "which page; by default the newest",
            "max_width": "pixels that the viewer can use; by default 1280",
            "max_fps": "frames a second that the viewer can use; by default the maximum",
        },
    },
    "/v1/browser/connect": {
        "description": (
            "Creates a session, serves it over the Chrome DevTools Protocol, and ends it when the client disconnects."
        ),
        "query": {
            "api_key": "the key, for clients that send no headers; `token` and `apiKey` mean the same",
            "keep_alive_seconds": "how long the session waits for its client to come back",
            "<field>": "any field of CreateBrowserSession, objects as JSON",
        },
    },
    "/": {"description": "As /v1/browser/connect.", "query": {"token": "the key"}},
    "/devtools/browser/{id}": {
        "description": "The `webSocketDebuggerUrl` of /json/version, for tools that know a host and a port.",
        "query": {"ticket": "from /json/version, instead of the key"},
    },
    "/devtools/page/{page_id}": {
        "description": "One page: of the session that the ticket has opened, or with a key, of any of the caller's.",
        "query": {"ticket": "from /json/version, instead of the key"},
    },
}
"""What `x-websockets` says: OpenAPI has no words of its own for them."""

_STYLE: Final = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}
h2{margin:2.5rem 0 .5rem;text-transform:capitalize}details{border-top:1px solid #8886;padding:.4rem 0}
summary{cursor:pointer}code,pre{font:14px/1.45 ui-monospace,monospace}pre{overflow:auto;padding:.8rem;background:#8881}
.m{display:inline-block;min-width:4.5rem;font-weight:700}table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #8883}
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_PAGE_HEADERS: Final = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-cache",
}


def openapi_of(app: FastAPI) -> dict[str, Any]:
    """The document, made once. Parameters carry no titles and 422 no input, as the contract has them."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, servers=app.servers
        )
        for path in document["paths"].values():
            for operation in path.values():
                for parameter in operation.get("parameters", ()):
                    parameter["schema"].pop("title", None)
        schemas = document["components"]["schemas"]
        schemas["ValidationError"] = _VALIDATION_ERROR
        schemas["Problem"] = Problem.model_json_schema(mode="serialization")
        document["x-websockets"] = WEBSOCKETS
        app.openapi_schema = document
    return app.openapi_schema


def install(app: FastAPI) -> None:
    """Serves the document at /openapi.json and the page at /docs."""
    app.openapi = lambda: openapi_of(app)  # type: ignore[method-assign]
    made: dict[str, bytes] = {}

    async def openapi_json() -> Response:
        body = made.setdefault("json", json.dumps(openapi_of(app)).encode())
        return Response(body, media_type="application/json")

    async def docs() -> Response:
        body = made.setdefault("html", page(openapi_of(app)).encode())
        return Response(body, media_type="text/html", headers=_PAGE_HEADERS)

    app.add_api_route("/openapi.json", openapi_json, include_in_schema=False)
    app.add_api_route("/docs", docs, include_in_schema=False)


def page(document: dict[str, Any]) -> str:
    """The document as HTML. Everything in it is escaped, though all of it is ours."""
    info = document["info"]
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            group = (operation.get("tags") or ["other"])[0]
            groups.setdefault(group, []).append(_operation(path, method, operation))
    body = "".join(f"<h2>{escape(name)}</h2>{''.join(entries)}" for name, entries in groups.items())
    schemas = "".join(
        f"<details><summary><code>{escape(name)}</code></summary>"
        f'<pre id="{escape(name)}">{_json(schema, indent=1)}</pre></details>'
        for name, schema in document["components"]["schemas"].items()
    )
    websockets = "".join(_websocket(path, entry) for path, entry in document["x-websockets"].items())
    title = escape(f"{info['title']} {info['version']}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><style>' + _STYLE + "</style></head><body>"
        f"<h1>{title}</h1><p>{escape(info.get('description', ''))}</p>"
        '<p>The same for programs: <a href="/openapi.json">/openapi.json</a></p>'
        f"{body}<h2>WebSockets</h2>{websockets}<h2>Schemas</h2>{schemas}</body></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    rows = [
        (
            parameter["name"],
            parameter["in"],
            parameter.get("description", ""),
            {word: value for word, value in parameter["schema"].items() if word != "description"},
        )
        for parameter in operation.get("parameters", ())
    ]
    parameters = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(place)}</td><td>{escape(words)}</td>"
        f"<td><code>{_json(schema)}</code></td></tr>"
        for name, place, words, schema in rows
    )
    body = "".join(
        f"<p>Body: {_link(content.get('schema', {}))} ({escape(media)})</p>"
        for media, content in operation.get("requestBody", {}).get("content", {}).items()
    )
    answers = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td><td>"
        + ", ".join(
            f"{_link(content.get('schema', {}))} ({escape(media)})"
            for media, content in answer.get("content", {}).items()
        )
        + "</td></tr>"
        for status, answer in operation["responses"].items()
    )
    return (
        f'<details><summary><span class="m">{escape(method.upper())}</span> <code>{escape(path)}</code> '
        f"{escape(operation.get('summary', ''))}</summary><p>{escape(operation.get('description', ''))}</p>"
        f"<table>{parameters}</table>{body}<table>{answers}</table></details>"
    )


def _websocket(path: str, entry: dict[str, Any]) -> str:
    query = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>query</td><td>{escape(text)}</td></tr>"
        for name, text in entry["query"].items()
    )
    return (
        f'<details><summary><span class="m">WS</span> <code>{escape(path)}</code></summary>'
        f"<p>{escape(entry['description'])}</p><table>{query}</table></details>"
    )


def _link(schema: dict[str, Any]) -> str:
    names = [str(part["$ref"]).rsplit("/", 1)[-1] for part in [schema, *schema.get("anyOf", [])] if "$ref" in part]
    return ", ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in names) or "value"


def _json(schema: dict[str, Any], indent: int | None = None) -> str:
    return escape(json.dumps(schema, indent=indent))
