"""Ways in which a page, a client's CDP commands and an address may try to reach a listener of the service's machine."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from tests.harness.service import Running
from tests.harness.sites.plain_site import Site

SPELLINGS: Final = (
    "http://127.0.0.1:{port}/q",
    "http://127.1:{port}/q",
    "http://127.0.1:{port}/q",
    "http://2130706433:{port}/q",
    "http://0x7f000001:{port}/q",
    "http://0x7F.1:{port}/q",
    "http://0x7f.0x0.0x0.0x1:{port}/q",
    "http://0177.0.0.1:{port}/q",
    "http://017700000001:{port}/q",
    "http://0x7f.0.1:{port}/q",
    "http://127.0.0.2:{port}/q",
    "http://0.0.0.0:{port}/q",
    "http://0:{port}/q",
    "http://0x0:{port}/q",
    "http://localhost:{port}/q",
    "http://LOCALHOST:{port}/q",
    "http://localhost.:{port}/q",
    "http://a.localhost:{port}/q",
    "http://ip6-localhost:{port}/q",
    "http://[::1]:{port}/q",
    "http://[::]:{port}/q",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]:{port}/q",
    "http://[::ffff:127.0.0.1]:{port}/q",
    "http://[0:0:0:0:0:ffff:7f00:0001]:{port}/q",
    "http://[::ffff:0:127.0.0.1]:{port}/q",
    "http://[::7f00:1]:{port}/q",
    "http://[64:ff9b::7f00:1]:{port}/q",
    "http://[2002:7f00:1::]:{port}/q",
    "http://127%2e0%2e0%2e1:{port}/q",
    "http://%31%32%37.0.0.1:{port}/q",
    "http://\uff11\uff12\uff17\uff0e\uff10\uff0e\uff10\uff0e\uff11:{port}/q",
    "http://127\u30020\u30020\u30021:{port}/q",
    "http://\u2460\u2461\u2466.0.0.1:{port}/q",
    "http://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54:{port}/q",
    "http://local\u200bhost:{port}/q",
    "http://local\u00adhost:{port}/q",
    "http://a:b@127.0.0.1:{port}/q",
    "http://a.example%2f@127.0.0.1:{port}/q",
    "http://a.example@127.0.0.1:{port}/q",
    "http:\\\\127.0.0.1:{port}\\q",
    "http:127.0.0.1:{port}/q",
    "ht\ttp://127.0\t.0.1:{port}/q",
    "HTTP://127.0.0.1:{port}/q",
    "http://127.0.0.1:{port}\\@a.example/q",
    "http://127.0.0.1:{port}/q#@a.example",
    "http://127.0.0.1.:{port}/q",
    "https://127.0.0.1:{port}/q",
    "data:text/html,<meta http-equiv=refresh content='0;url=http://127.0.0.1:{port}/q'>",
)

SCRIPTS: Final = {
    "fetch": "fetch(T).catch(() => 0)",
    "fetch-no-cors": "fetch(T, {mode: 'no-cors'}).catch(() => 0)",
    "fetch-keepalive": "fetch(T, {mode: 'no-cors', keepalive: true}).catch(() => 0)",
    "fetch-post": "fetch(T, {mode: 'no-cors', method: 'POST', body: 'x'}).catch(() => 0)",
    "xhr": "const x = new XMLHttpRequest(); x.open('GET', T); x.send()",
    "image": "new Image().src = T",
    "script": "add('script', {src: T})",
    "module": "import(T).catch(() => 0)",
    "module-preload": "add('link', {rel: 'modulepreload', href: T})",
    "stylesheet": "add('link', {rel: 'stylesheet', href: T})",
    "style-import": "add('style', {textContent: `@import '${T}'`})",
    "style-background": "document.body.style.background = `url('${T}')`",
    "style-cursor-list": "document.body.style.listStyleImage = `url('${T}')`; html('<li>x</li>', "
    "`<ul style=\"list-style-image:url('${T}')\"><li>x</li></ul>`)",
    "style-border": "html(`<p style=\"border:9px solid;border-image:url('${T}') 1\">x</p>`)",
    "style-mask": "html(`<p style=\"mask-image:url('${T}')\">x</p>`)",
    "font": "new FontFace('x', `url('${T}')`).load().catch(() => 0)",
    "frame": "add('iframe', {src: T})",
    "frame-sandboxed": "add('iframe', {src: T, sandbox: 'allow-scripts'})",
    "frame-srcdoc": "add('iframe', {srcdoc: `<img src='${T}'>`})",
    "frame-data": "add('iframe', {src: `data:text/html,<img src='${T}'>`})",
    "frame-refresh": "add('iframe', {srcdoc: `<meta http-equiv=refresh content='0;url=${T}'>`})",
    "object": "add('object', {data: T})",
    "embed": "add('embed', {src: T})",
    "video": "add('video', {src: T, preload: 'auto'})",
    "video-poster": "add('video', {poster: T})",
    "audio": "add('audio', {src: T, preload: 'auto'})",
    "track": "html(`<video src=data:video/webm,x><track default kind=captions src='${T}'></video>`);"
    " document.querySelector('track').track.mode = 'showing'",
    "source": "html(`<audio preload=auto><source src='${T}'></audio>`)",
    "srcset": "html(`<img srcset='${T} 1x'>`)",
    "picture": "html(`<picture><source srcset='${T}'><img></picture>`)",
    "input-image": "html(`<input type=image src='${T}'>`)",
    "svg-image": "html(`<svg><image href='${T}'/></svg>`)",
    "svg-filter": "html(`<svg><filter id=f><feImage href='${T}'/></filter>"
    "<rect width=9 height=9 filter='url(#f)'/></svg>`)",
    "xslt": "add('iframe', {src: URL.createObjectURL(new Blob([`<?xml version='1.0'?><?xml-stylesheet type='text/xsl'"
    " href='${T}'?><a/>`], {type: 'text/xml'}))})",
    "beacon": "navigator.sendBeacon(T, 'x')",
    "ping": "const a = add('a', {href: '#x', ping: T}); a.click()",
    "websocket": "new WebSocket(T.replace('http', 'ws'))",
    "event-source": "new EventSource(T)",
    "form-get": "form({action: T})",
    "form-post": "form({action: T, method: 'post'})",
    "form-multipart": "form({action: T, method: 'post', enctype: 'multipart/form-data'})",
    "form-blank": "form({action: T, target: '_blank'})",
    "popup": "open(T)",
    "popup-noopener": "open(T, '_blank', 'noopener')",
    "popup-then-location": "open('about:blank').location = T",
    "link-blank": "add('a', {href: T, target: '_blank'}).click()",
    "link-download": "add('a', {href: T, download: 'x', target: 'other'}).click()",
    "worker-fetch": "new Worker(code(`fetch('${T}', {mode: 'no-cors'}).catch(() => 0)`))",
    "worker-import": "new Worker(code(`try { importScripts('${T}') } catch {}`))",
    "worker-module": "new Worker(code(`import('${T}').catch(() => 0)`), {type: 'module'})",
    "worker-websocket": "new Worker(code(`new WebSocket('${T}'.replace('http', 'ws'))`))",
    "worker-nested": "new Worker(code(`new Worker(URL.createObjectURL(new Blob([\"fetch('${T}', {mode: 'no-cors'})"
    '.catch(() => 0)"])))`))',
    "shared-worker": "new SharedWorker(code(`fetch('${T}', {mode: 'no-cors'}).catch(() => 0)`))",
    "service-worker": "navigator.serviceWorker.register('/sw.js?' + encodeURIComponent(T), {scope: '/none/'})",
    "worklet": "new OfflineAudioContext(1, 9, 8000).audioWorklet.addModule(T).catch(() => 0)",
    "cache": "caches.open('x').then(c => c.add(new Request(T, {mode: 'no-cors'}))).catch(() => 0)",
    "preload": "add('link', {rel: 'preload', as: 'image', href: T})",
    "prefetch": "add('link', {rel: 'prefetch', href: T})",
    "preconnect": "add('link', {rel: 'preconnect', href: T})",
    "dns-prefetch": "add('link', {rel: 'dns-prefetch', href: T})",
    "icon": "add('link', {rel: 'icon', href: T})",
    "manifest": "add('link', {rel: 'manifest', href: T})",
    "prerender": "add('script', {type: 'speculationrules', textContent: JSON.stringify({prerender: [{source: 'list',"
    " urls: [T]}]})})",
    "speculative-prefetch": "add('script', {type: 'speculationrules', textContent: JSON.stringify({prefetch: [{source:"
    " 'list', urls: [T]}]})})",
    "csp-report": "add('iframe', {src: '/csp?' + encodeURIComponent(T)})",
    "link-header": "add('iframe', {src: '/linked?' + encodeURIComponent(T)})",
    "refresh-header": "add('iframe', {src: '/refresh?' + encodeURIComponent(T)})",
    "redirect": "fetch('/away?' + encodeURIComponent(T), {mode: 'no-cors'}).catch(() => 0)",
    "redirect-image": "new Image().src = '/away?' + encodeURIComponent(T)",
    "redirect-frame": "add('iframe', {src: '/away?' + encodeURIComponent(T)})",
    "background-fetch": "navigator.serviceWorker.register('/sw.js', {scope: '/'}).then(() => navigator.serviceWorker"
    ".ready).then(r => r.backgroundFetch.fetch('b', [T])).catch(() => 0)",
    "stun": "rtc({urls: 'stun:' + new URL(T).host})",
    "turn-udp": "rtc({urls: 'turn:' + new URL(T).host + '?transport=udp', username: 'u', credential: 'p'})",
    "turn-tcp": "rtc({urls: 'turn:' + new URL(T).host + '?transport=tcp', username: 'u', credential: 'p'})",
    "turns": "rtc({urls: 'turns:' + new URL(T).host, username: 'u', credential: 'p'})",
    "ice-candidate": "rtc(null, new URL(T).port)",
    "webtransport": "new WebTransport(T.replace('http:', 'https:')).ready.catch(() => 0)",
    "navigation-api": "navigation.navigate(T)",
    "location": "location.assign(T)",
    "location-script": "location = `javascript:location.replace('${T}')`",
    "document-write": "document.write(`<img src='${T}'>`)",
    "refresh": "document.head.insertAdjacentHTML('beforeend', `<meta http-equiv=refresh content='0;url=${T}'>`)",
    "base": "document.head.insertAdjacentHTML('beforeend', `<base href='${T}/'>`); html('<img src=x>')",
}
"""JavaScript that makes a page request `T`."""
NO_REQUEST: Final = frozenset(
    {"preconnect", "dns-prefetch", "stun", "turn-udp", "turn-tcp", "turns", "ice-candidate", "webtransport"}
    | {"track", "xslt", "icon", "manifest", "background-fetch"}
)
"""Of these, a site that is allowed sees no request: they send none over HTTP, or only in a Chromium with windows."""

HELPERS: Final = """
const add = (kind, fields) => { const e = Object.assign(document.createElement(kind), fields);
  document.body.append(e); return e };
const html = (...texts) => document.body.insertAdjacentHTML('beforeend', texts.join(''));
const code = text => URL.createObjectURL(new Blob([text], {type: 'text/javascript'}));
const form = fields => { const f = add('form', fields); if (!fields.target) { add('iframe', {name: 'inside'});
  f.target = 'inside' } f.submit() };
const rtc = (server, port) => { const p = new RTCPeerConnection({iceServers: server ? [server] : []});
  p.createDataChannel('x'); p.createOffer().then(async offer => { await p.setLocalDescription(offer);
  if (port) { const q = new RTCPeerConnection(); await q.setRemoteDescription(offer);
    await q.setLocalDescription(await q.createAnswer()); await p.setRemoteDescription(q.localDescription);
    await p.addIceCandidate({candidate: `candidate:1 1 udp 2122260223 127.0.0.1 ${port} typ host`, sdpMid: '0'}) } })
  .catch(() => 0) };
"""


def tried(name: str, target: str) -> str:
    """An expression that tries one of `SCRIPTS` and is evaluated at once."""
    return f"(() => {{ const T = `{target}/{name}`; {HELPERS} try {{ {SCRIPTS[name]} }} catch {{}} }})()"


def prepare(site: Site, target: str) -> None:
    """Adds the pages and headers that `SCRIPTS` use."""
    site.pages |= {"/csp": "<img src=//blocked.example/x>", "/linked": "linked", "/refresh": "refresh"}
    site.pages["/sw.js"] = "const T = location.search.slice(1); if (T) fetch(decodeURIComponent(T), {mode: 'no-cors'})"
    for path, name, header in (
        ("/csp", "csp-report", "Content-Security-Policy: img-src 'none'; report-uri {}"),
        ("/linked", "link-header", "Link: <{}>; rel=preload; as=image"),
        ("/refresh", "refresh-header", "Refresh: 0; url={}"),
    ):
        site.headers[path] = header.format(f"{target}/{name}")
    site.redirects["/away"] = f"{target}/redirected"


WAYS: Final = {
    "fetch": "fetch(url, {mode: 'no-cors'})",
    "image": "new Promise(done => { const i = new Image(); i.onload = i.onerror = done; i.src = url })",
    "frame": "new Promise(done => { const f = document.createElement('iframe'); f.onload = done; f.src = url;"
    " document.body.append(f) })",
    "script": "new Promise(done => { const s = document.createElement('script'); s.onload = s.onerror = done;"
    " s.src = url; document.body.append(s) })",
    "websocket": "new Promise(done => { new WebSocket(url.replace('http', 'ws')).onclose = done })",
    "event source": "new Promise(done => { const e = new EventSource(url); e.onerror = () => { e.close(); done() } })",
    "beacon": "navigator.sendBeacon(url)",
    "worker": "new Promise(done => { const w = new Worker(URL.createObjectURL(new Blob(["
    "`fetch('${url}', {mode: 'no-cors'}).catch(() => {}).then(() => postMessage(1))`]))); w.onmessage = done })",
    "popup": "open(url)",
    "form": "(() => { const f = document.createElement('form'); f.method = 'post'; f.action = url;"
    " f.target = 'elsewhere'; document.body.append(f); f.submit() })()",
    "download": "(() => { const a = document.createElement('a'); a.href = url; a.download = 'it';"
    " a.target = 'another'; a.click() })()",
    "preconnect": "(() => { for (const rel of ['dns-prefetch', 'preconnect', 'prefetch', 'preload']) {"
    " const l = document.createElement('link'); l.rel = rel; l.as = 'fetch'; l.href = url; document.head.append(l) }"
    " })()",
    "style": "(() => { const s = document.createElement('style'); s.textContent = `@import '${url}'`;"
    " document.head.append(s) })()",
    "webrtc": "(async () => { const pc = new RTCPeerConnection({iceServers: [{urls: 'stun:' + new URL(url).host}]});"
    " pc.createDataChannel('x'); await pc.setLocalDescription(await pc.createOffer()) })()",
    "webtransport": "new WebTransport(url.replace('http:', 'https:')).ready",
}
"""JavaScript that makes the page reach `url`."""
OPENING: Final = frozenset({"popup", "form", "download"})
"""Of these, each opens a window, which costs Chromium a process."""
TCP: Final = WAYS.keys() - {"webrtc", "webtransport", "preconnect"}
SETTLED_MS: Final = 1500
"""The longest that a way may take; those that end earlier are not waited for."""


async def in_all_ways(service: Running, session_id: str, host: str, without: frozenset[str] = frozenset()) -> None:
    """Tries all of `WAYS` at once, except those named; the paths of the requests are their names."""
    ways = {name: way for name, way in WAYS.items() if name not in without}
    tries = [f"(async url => {way})('http://{host}/{quote(name)}')" for name, way in ways.items()]
    ends = f"Promise.race([Promise.allSettled([{', '.join(tries)}]), new Promise(d => setTimeout(d, {SETTLED_MS}))])"
    await service.evaluate(session_id, f"{ends}.then(() => true)")
