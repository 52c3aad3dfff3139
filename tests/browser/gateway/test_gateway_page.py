"""One page of a session at its root: what Chromium's own DevTools connects to."""

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


async def test_devtools_speaks_to_one_page_and_reaches_no_other(service: Running) -> None:
    mine, other = await service.create(), await service.create()
    page, stranger = await service.first_page(mine["session_id"]), await service.first_page(other["session_id"])
    async with raw(at_page(mine["connect_url"], page), origin="null") as client:
        assert await client.value("1 + 1") == 2
        await client.call("Runtime.enable")
        await client.call("Page.enable")
        await client.call("Runtime.evaluate", {"expression": "console.log('said ' + 'it')"})
        said = await client.event("Runtime.consoleAPICalled")
        assert "sessionId" not in said
        assert said["params"]["args"][0]["value"] == "said it"
        big = await client.call("Runtime.evaluate", {"expression": "'x'.repeat(3000000)"})
        assert len(big["result"]["value"]) == 3_000_000

        # workers come below the page, with sessions of their own
        await client.auto_attach()
        made = "new Worker(URL.createObjectURL(new Blob(['self.y = 7'])));0"
        await client.call("Runtime.evaluate", {"expression": made})
        worker = await client.event("Target.attachedToTarget")
        assert "sessionId" not in worker
        below = worker["params"]["sessionId"]
        await client.call("Runtime.runIfWaitingForDebugger", {}, below)
        async with asyncio.timeout(20):
            while await client.value("self.y", below) != 7:  # noqa: ASYNC110 - its script runs when it runs
                await asyncio.sleep(0.01)
        assert any(f'"sessionId":"{below}"' in frame for frame in client.frames if '"value":7' in frame)

        # nobody else's, and the root is not the browser's
        for method in ("Target.attachToTarget", "Target.closeTarget", "Target.activateTarget"):
            refused = await client.ask(method, {"targetId": stranger, "flatten": True})
            assert refused["error"]["code"] == -32602, method
        for method in ("Browser.crash", "Tracing.start", "Target.exposeDevToolsProtocol"):
            assert (await client.ask(method))["error"]["code"] == -32601
        assert {info["targetId"] for info in (await client.call("Target.getTargets"))["targetInfos"]} >= {page}
        assert stranger not in "".join(frame for frame in client.frames if '"error"' not in frame)
        assert {m.get("sessionId") for m in map(json.loads, client.frames)} == {None, below}

        await service.http.delete(f"/v1/browser/sessions/{mine['session_id']}/pages/{page}")
        async with asyncio.timeout(20):
            await client.closed.wait()
        assert client.close_code == 1000
        assert client.events[-1] == {"method": "Inspector.detached", "params": {"reason": "target_closed"}}
    assert await service.evaluate(other["session_id"], "2 + 2") == 4
    await until(lambda: not any(shared.clients for shared in service.inside.gateway._shared.values()))


async def test_a_page_that_is_not_the_session_s_is_not_found_before_the_upgrade(service: Running) -> None:
    mine, other = await service.create(), await service.create()
    page, stranger = await service.first_page(mine["session_id"]), await service.first_page(other["session_id"])
    for page_id in (stranger, "0" * 32, "browser"):
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
