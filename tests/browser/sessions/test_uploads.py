"""Uploads with real clients: what is uploaded to a session goes into its pages' file inputs, and nothing else does."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.async_api import CDPSession, Page, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from browser_sessions import uvicorn_adapter
from tests.harness.clients.node_client import needs_node, run_node
from tests.harness.service import ADMIN_KEY, Running
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

INPUTS: Final = "<input id=one type=file><input id=many type=file multiple><input id=all type=file webkitdirectory>"
CONTENTS: Final = "Promise.all([...one.files, ...many.files].map(async file => [file.name, await file.text()]))"
MEMBERS: Final = "[...all.files].map(file => file.webkitRelativePath).sort()"
HASH: Final = """
(async () => {
  const digest = await crypto.subtle.digest("SHA-256", await one.files[0].arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
})()
"""
"""`crypto.subtle` needs a secure context: `localhost`, or a local page."""


async def upload(service: Running, session_id: str, name: str, content: bytes = b"") -> dict[str, Any]:
    response = await service.http.post(
        f"/v1/browser/sessions/{session_id}/uploads", params={"name": name}, content=content
    )
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def set_files(cdp: CDPSession, selector: str, *paths: str) -> None:
    root = (await cdp.send("DOM.getDocument"))["root"]
    found = await cdp.send("DOM.querySelector", {"nodeId": root["nodeId"], "selector": selector})
    await cdp.send("DOM.setFileInputFiles", {"nodeId": found["nodeId"], "files": list(paths)})


async def refusal(cdp: CDPSession, path: str) -> str:
    """The error for a path, without it."""
    with pytest.raises(PlaywrightError) as raised:
        await set_files(cdp, "#one", path)
    return str(raised.value).replace(path, "…")


async def test_a_pages_inputs_take_the_uploads_of_its_session_and_nothing_else(
    service: Running, tmp_path: Path, playwright: Playwright
) -> None:
    made, other = await service.create(), await service.create()
    session_id = made["session_id"]
    one = await upload(service, session_id, "Grüße.txt", b"one")
    two = await upload(service, session_id, "two.txt", b"two")
    members = [await upload(service, session_id, name, b"x") for name in ("docs/a.txt", "docs/old/b.txt")]
    foreign = await upload(service, other["session_id"], "Grüße.txt", b"foreign")
    (folder,) = {each["path"] for each in members}
    assert folder.endswith("/docs/")
    (tmp_path / "mine").mkdir()
    async with await playwright.chromium.connect_over_cdp(made["connect_url"]) as browser:
        context = browser.contexts[0]
        page = context.pages[0]
        await page.set_content(INPUTS)
        cdp = await context.new_cdp_session(page)
        await set_files(cdp, "#one", one["path"])
        await set_files(cdp, "#many", two["path"], one["path"])
        await set_files(cdp, "#all", folder)
        assert await page.evaluate(CONTENTS) == [["Grüße.txt", "one"], ["two.txt", "two"], ["Grüße.txt", "one"]]
        await page.wait_for_function("all.files.length === 2")  # Chromium lists a folder's files after its answer
        assert await page.evaluate(MEMBERS) == ["docs/a.txt", "docs/old/b.txt"]
        never = await refusal(cdp, foreign["path"][:-1])
        inside = str(Path(one["path"]).parent)
        host = ("/etc/passwd", inside, f"{inside}/other.txt", f"{folder}a.txt", f"{inside}/../../x", f"{one['path']}\0")
        assert {await refusal(cdp, path) for path in (foreign["path"], *host)} == {never}
        assert await refusal(cdp, folder[:-1]) == never, "without its slash"
        assert "webkitdirectory" in await refusal(cdp, folder)
        assert await page.evaluate("[...one.files].map(file => file.name)") == ["Grüße.txt"]
        element = await page.query_selector("#all")
        assert element is not None
        with pytest.raises(PlaywrightError, match="uploads"):  # Playwright sends the folder's path
            await element.set_input_files(tmp_path / "mine", timeout=20_000)
        response = await service.http.delete(f"/v1/browser/sessions/{session_id}/uploads/{one['upload_id']}")
        assert response.status_code == 204
        assert await refusal(cdp, one["path"]) == never
        await browser.close()
    assert Path(two["path"]).read_bytes() == b"two"
    await service.http.delete(f"/v1/browser/sessions/{session_id}")
    folder = Path(two["path"]).parent.parent.parent
    await until(lambda: not folder.exists(), what="the files go with the session")
    assert Path(foreign["path"]).exists()


@pytest.mark.node
@needs_node
async def test_puppeteer_uploads_files_and_folders_by_their_path(service: Running) -> None:
    made = await service.create()
    file = await upload(service, made["session_id"], "a.txt", b"hello")
    folder = await upload(service, made["session_id"], "docs/a.txt")
    found = await run_node("upload.mjs", {"url": made["connect_url"], "file": file["path"], "folder": folder["path"]})
    assert found["uploaded"] == found["chosen"] == ["a.txt", "hello"]
    assert found["members"] == ["docs/a.txt"]
    assert "uploads" in found["refused"]


async def blocks(number: int) -> AsyncIterator[bytes]:
    """Pseudo-random, so that a page that mixes them up has another hash."""
    for n in range(number):
        yield hashlib.sha256(str(n).encode()).digest() * 2**15


async def page_of(service: Running, playwright: Any, made: dict[str, Any]) -> tuple[Page, CDPSession]:
    browser = await playwright.chromium.connect_over_cdp(made["connect_url"])
    page = browser.contexts[0].pages[0]
    await page.goto(f"{service.url}/docs")  # a secure context
    return page, await browser.contexts[0].new_cdp_session(page)


@pytest.mark.slow
async def test_playwright_sets_200_mb_through_its_cdp_session(service: Running) -> None:
    made = await service.create()
    wanted = hashlib.sha256()
    async for block in blocks(200):
        wanted.update(block)
    response = await service.http.post(
        f"/v1/browser/sessions/{made['session_id']}/uploads", params={"name": "large.bin"}, content=blocks(200)
    )
    assert (response.status_code, response.json()["size"]) == (201, 200 * 2**20)
    async with async_playwright() as playwright:
        page, cdp = await page_of(service, playwright, made)
        await page.evaluate(f"document.body.innerHTML = {INPUTS!r}")
        await set_files(cdp, "#one", response.json()["path"])
        assert await page.evaluate(HASH) == wanted.hexdigest()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_playwrights_own_set_input_files_works_with_45_mb(service: Running, tmp_path: Path) -> None:
    """It sends the content."""
    made, file = await service.create(), tmp_path / "large.bin"
    with file.open("wb") as out:
        async for block in blocks(45):
            out.write(block)
    async with async_playwright() as playwright:
        page, _ = await page_of(service, playwright, made)
        await page.evaluate(f"document.body.innerHTML = {INPUTS!r}")
        await page.set_input_files("#one", file, timeout=200_000)
        assert await page.evaluate(HASH) == hashlib.sha256(file.read_bytes()).hexdigest()


async def test_uploads_are_events(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    made = await upload(service, session_id, "docs/a.txt", b"four")
    base = f"/v1/browser/sessions/{session_id}/uploads"
    refused = await service.http.post(base, params={"name": "docs/a.txt"}, content=b"taken")
    assert refused.status_code == 409
    assert (await service.http.delete(f"{base}/{made['upload_id']}")).status_code == 204
    events = [each for each in service.inside.pool.journal.of(session_id) if each.kind.startswith("upload.")]
    data = {"upload_id": made["upload_id"], "name": "docs/a.txt", "size": 4}
    assert [(each.kind, each.data) for each in events] == [("upload.added", data), ("upload.removed", data)]


async def test_an_upload_that_stalls_is_a_408_and_leaves_nothing(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn_adapter, "BODY_TIMEOUT_S", 0.2)
    session_id = (await service.create())["session_id"]
    folder = service.inside.work_dir / "sessions" / session_id / "uploads"
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(service.url).port)
    writer.write(
        f"POST /v1/browser/sessions/{session_id}/uploads?name=a.txt HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"X-API-Key: {ADMIN_KEY}\r\nContent-Length: 1000\r\n\r\nthe beginning".encode()
    )
    async with asyncio.timeout(20):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()
    await until(lambda: folder.exists() and not list(folder.iterdir()), what="the part is removed")
    assert service.inside.pool.context(session_id).uploads.all() == []
    assert not service.inside.pool.registry.live(session_id).session.in_use
