"""The page endpoint of a session, to which Chromium's DevTools connects."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.exceptions import InvalidStatus

from tests.harness.clients.raw_cdp import raw
from tests.harness.service import Running
from tests.harness.waiting import until

pytestmark = pytest.mark.browser


def at_page(connect_url: str, page_id: str) -> str:
    path, _, query = connect_url.partition("?")
    return f"{path}/devtools/page/{page_id}?{query}"


async def test_devtools_reaches_only_its_page(service: Running) -> None:
    mine, other = await service.create(), await service.create()
    page, foreign = await service.first_page(mine["session_id"]), await service.first_page(other["session_id"])
    async with raw(at_page(mine["connect_url"], page), origin="null") as client:
        assert await client.value("1 + 1") == 2
        await client.call("Runtime.enable")
        await client.call("Page.enable")
        await client.call("Runtime.evaluate", {"expression": "console.log('logged ' + 'it')"})
        logged = await client.event("Runtime.consoleAPICalled")
        assert "sessionId" not in logged
        assert logged["params"]["args"][0]["value"] == "logged it"
        big = await client.call("Runtime.evaluate", {"expression": "'x'.repeat(3000000)"})
        assert len(big["result"]["value"]) == 3_000_000

        # workers are attached below the page with separate CDP sessions
        await client.auto_attach()
        made = "new Worker(URL.createObjectURL(new Blob(['self.y = 7'])));0"
        await client.call("Runtime.evaluate", {"expression": made})
        worker = await client.event("Target.attachedToTarget")
        assert "sessionId" not in worker
        below = worker["params"]["sessionId"]
        await client.call("Runtime.runIfWaitingForDebugger", {}, below)
        async with asyncio.timeout(20):
            while await client.value("self.y", below) != 7:  # noqa: ASYNC110 - no event reports that the script has run
                await asyncio.sleep(0.01)
        assert any(f'"sessionId":"{below}"' in frame for frame in client.frames if '"value":7' in frame)

        # no foreign targets, and no browser-level methods at the root
        for method in ("Target.attachToTarget", "Target.closeTarget", "Target.activateTarget"):
            refused = await client.ask(method, {"targetId": foreign, "flatten": True})
            assert refused["error"]["code"] == -32602, method
        for method in ("Browser.crash", "Tracing.start", "Target.exposeDevToolsProtocol"):
            assert (await client.ask(method))["error"]["code"] == -32601
        assert {info["targetId"] for info in (await client.call("Target.getTargets"))["targetInfos"]} >= {page}
        assert foreign not in "".join(frame for frame in client.frames if '"error"' not in frame)
        assert {m.get("sessionId") for m in map(json.loads, client.frames)} == {None, below}

        await service.http.delete(f"/v1/browser/sessions/{mine['session_id']}/pages/{page}")
        async with asyncio.timeout(20):
            await client.closed.wait()
        assert client.close_code == 1000
        assert client.events[-1] == {"method": "Inspector.detached", "params": {"reason": "target_closed"}}
    assert await service.evaluate(other["session_id"], "2 + 2") == 4
    await until(lambda: not any(shared.clients for shared in service.inside.gateway._shared.values()))


async def test_a_page_of_another_session_is_refused_with_404_before_the_upgrade(service: Running) -> None:
    mine, other = await service.create(), await service.create()
    page, foreign = await service.first_page(mine["session_id"]), await service.first_page(other["session_id"])
    for page_id in (foreign, "0" * 32, "browser"):
        with pytest.raises(InvalidStatus) as refused:
            async with raw(at_page(mine["connect_url"], page_id)):
                pass
        assert refused.value.response.status_code == 404
    bare = mine["connect_url"].partition("?")[0] + f"/devtools/page/{page}"
    for url, status in ((bare, 403), (bare + "?ticket=x", 401)):
        with pytest.raises(InvalidStatus) as refused:
            async with raw(url, origin="null"):
                pass
        assert refused.value.response.status_code == status
    assert not any(shared.clients for shared in service.inside.gateway._shared.values())
    assert (await service.details(mine["session_id"]))["status"] == "active"
