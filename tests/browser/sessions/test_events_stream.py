"""Event streams of the real service with a real browser."""

from __future__ import annotations

import asyncio

import pytest

from tests.harness.clients.sse import stream
from tests.harness.service import Running
from tests.harness.waiting import until

pytestmark = pytest.mark.browser

SESSIONS = "/v1/browser/sessions"


def page(html: str) -> str:
    return "data:text/html," + html


async def navigate(service: Running, session_id: str, url: str) -> None:
    page_id = await service.first_page(session_id)
    response = await service.http.post(f"{SESSIONS}/{session_id}/pages/{page_id}/navigate", json={"url": url})
    assert response.status_code == 200, response.text


async def test_a_sessions_events_are_in_order_and_the_stream_ends_with_it(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    async with stream(service.http, f"{SESSIONS}/{session_id}/events", since="start") as events:
        await events.until("session.active")
        await navigate(
            service,
            session_id,
            page(
                "<title>Hi</title><script>console.warn('one', 2); setTimeout(() => {throw new Error('oops')})</script>"
            ),
        )
        logged = await events.until("console")
        assert logged["data"]["level"] == "warning"
        assert logged["data"]["text"] == "one 2"
        assert logged["data"]["page_id"] == await service.first_page(session_id)
        thrown = await events.until("page.error")
        assert "oops" in thrown["data"]["text"]
        await service.evaluate(session_id, "fetch('http://127.0.0.1:1/').catch(() => 0)")
        failed = await events.until("network.failed")
        assert failed["data"]["url"] == "http://127.0.0.1:1/"
        assert failed["data"]["error"]
        await service.http.delete(f"{SESSIONS}/{session_id}")
        rest = await events.to_end()
    kinds = [event["type"] for event in rest]
    assert kinds[-1] == "session.ended"
    assert rest[-1]["data"]["reason"] == "deleted"
    assert rest[-1]["data"]["closing_seconds"] > 0
    assert {"page.opened", "page.navigated"} <= set(kinds)
    numbers = [int(event["id"].partition("-")[2]) for event in rest]
    assert numbers == sorted(numbers)
    assert {event["session_id"] for event in rest} == {session_id}


async def test_a_reconnecting_reader_gets_missed_events_once(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    path = f"{SESSIONS}/{session_id}/events"
    async with stream(service.http, path) as events:
        await service.evaluate(session_id, "console.log('first')")
        last = await events.until(lambda event: event["data"].get("text") == "first")
    await service.evaluate(session_id, "console.log('second')")
    async with stream(service.http, path, last_id=last["id"]) as events:
        await events.until(lambda event: event["data"].get("text") == "second")
        texts = [event["data"].get("text") for event in events.events if event["type"] == "console"]
    assert texts == ["second"]


async def test_a_stream_of_all_sessions_is_filtered_by_type_session_and_metadata(service: Running) -> None:
    one, two, three = [(await service.create(metadata={"job": job}))["session_id"] for job in ("a", "b", "a")]
    everything = "/v1/browser/events"

    async def happens(session_id: str) -> None:
        await service.evaluate(session_id, "console.log('line')")
        await service.http.delete(f"{SESSIONS}/{session_id}")

    async with (
        stream(service.http, everything, type=["console", "session"], session_id=[one, two]) as some,
        stream(service.http, everything, type="session.ended", **{"metadata.job": "a"}) as job_a,
        stream(service.http, f"{SESSIONS}/{two}/events", type="console") as lines,
    ):
        for each in (one, two, three):
            await happens(each)
        await job_a.until(lambda event: event["session_id"] == three)
        await some.until(lambda event: (event["session_id"], event["type"]) == (two, "session.ended"))
        await lines.to_end()
    assert [(event["session_id"], event["type"]) for event in job_a.events] == [
        (one, "session.ended"),
        (three, "session.ended"),
    ]
    assert {event["session_id"] for event in some.events} == {one, two}
    assert {event["type"] for event in some.events} == {"console", "session.ended"} | (
        {"session.updated"} & {event["type"] for event in some.events}
    )
    assert [event["type"] for event in lines.events] == ["console"], "it ends without the event that it filters out"
    for query, message in (
        ("type=pages", "event type"),
        ("session_id=x", "id of a session"),
        ("jobs=a", "metadata.<key>"),
    ):
        refused = await service.http.get(f"{everything}?{query}")
        assert refused.status_code == 422
        assert message in refused.json()["detail"][0]["msg"]


async def test_unknown_last_event_ids_are_a_gap(service: Running) -> None:
    for last_id in ("00000000-1", "nonsense", f"{service.inside.pool.journal.boot}-99999999"):
        async with stream(service.http, "/v1/browser/events", last_event_id=last_id) as events:
            gap = await events.read()
            assert gap is not None
            assert gap["type"] == "gap"
            assert gap["data"] == {"reason": "restarted"}


async def test_events_that_are_no_longer_kept_are_a_gap(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    journal = service.inside.pool.journal
    first = f"{journal.boot}-{journal.newest}"
    for number in range(600):
        journal.publish("console", session_id, "admin", text=str(number))
    async with stream(service.http, f"{SESSIONS}/{session_id}/events", last_id=first) as events:
        gap = await events.read()
        assert gap is not None
        assert gap["data"] == {"reason": "too_old"}
        await events.until(lambda event: event["data"].get("text") == "599")
        assert len([event for event in events.events if event["type"] == "console"]) == 500


async def test_a_client_gets_events_of_its_own_sessions_only(service: Running) -> None:
    key = await service.key("client")
    async with service.caller(key) as client:
        foreign = (await service.create())["session_id"]
        response = await client.get(f"{SESSIONS}/{foreign}/events")
        assert response.status_code == 404
        unknown = await client.get(f"{SESSIONS}/ses_{'0' * 32}/events")
        assert response.json()["detail"] == unknown.json()["detail"]
        async with stream(client, "/v1/browser/events") as events:
            await service.evaluate(foreign, "console.log('not for you')")
            own = (await client.post(SESSIONS, json={})).json()["session_id"]
            await events.until("session.active")
            await client.delete(f"{SESSIONS}/{own}")
            await events.until("session.ended")
            assert {event["session_id"] for event in events.events} == {own}


async def test_an_operator_gets_events_of_all_sessions_and_browsers(service: Running) -> None:
    key = await service.key("operator")
    async with service.caller(key) as operator, stream(operator, "/v1/browser/events") as events:
        session_id = (await service.create(isolation="browser"))["session_id"]
        of_session = {"session.active": session_id, "browser.started": None}  # its browser, or a new spare one after it
        found: dict[str, str | None] = {}
        while found.keys() != of_session.keys():
            event = await events.until(lambda event: event["type"] in of_session)
            found[event["type"]] = event["session_id"]
        assert found == of_session


async def test_reading_events_does_not_postpone_the_idle_timeout(service: Running) -> None:
    session_id = (await service.create(idle_timeout_seconds=1))["session_id"]
    async with stream(service.http, f"{SESSIONS}/{session_id}/events") as events:
        ended = await events.until("session.ended", within=10)
    assert ended["data"]["reason"] == "idle_timeout"


async def test_the_stream_of_an_ended_session_ends_and_is_then_a_204(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    path = f"{SESSIONS}/{session_id}/events"
    await service.http.delete(f"{SESSIONS}/{session_id}")
    async with stream(service.http, path) as events:
        assert [event["type"] for event in await events.to_end()] == ["session.ended"]
    async with stream(service.http, path, since="start") as events:
        whole = await events.to_end()
    assert {"session.active", "page.opened"} <= {event["type"] for event in whole}
    async with stream(service.http, path, last_id=whole[0]["id"]) as events:
        assert await events.to_end() == whole[1:]
    boot, _, newest = whole[-1]["id"].partition("-")
    transient = f"{boot}-{int(newest) + 1}"
    assert (await service.http.get(path, headers={"Last-Event-ID": transient})).status_code == 204
    again = await service.http.get(path, headers={"Last-Event-ID": whole[-1]["id"]})
    assert again.status_code == 204


async def test_a_console_flood_is_truncated_and_does_not_affect_other_sessions(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    other = (await service.create())["session_id"]
    journal = service.inside.pool.journal
    await service.evaluate(session_id, "for (let i = 0; i < 2000; i++) console.log('line', i)")
    await until(
        lambda: any("too fast" in e.data.get("text", "") for e in journal.of(session_id)), what="the flood is truncated"
    )
    lines = [e for e in journal.of(session_id) if e.kind == "console"]
    assert len(lines) < 300
    async with stream(service.http, f"{SESSIONS}/{other}/events") as events:
        await service.evaluate(other, "console.log('published')")
        await events.until("console")
    async with stream(service.http, f"{SESSIONS}/{session_id}/events") as events:

        async def published_again() -> bool:
            await service.evaluate(session_id, "console.log('later')")
            return any(e.data.get("text") == "later" for e in journal.of(session_id))

        await until(published_again, what="console messages are published again", every=0.2)
        await events.until(lambda event: event["data"].get("text") == "later")


async def test_hostile_text_is_encoded_as_json_on_one_line(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    hostile = "</script>\\n\\nevent: session.ended\\ndata: {}\\r\\u2028\\ud800" + "x" * 1000
    async with stream(service.http, f"{SESSIONS}/{session_id}/events") as events:
        await service.evaluate(session_id, f"console.log('{hostile}')")
        logged = await events.until("console")
    assert len(logged["data"]["text"]) <= 500
    assert logged["data"]["text"].startswith("</script>\n\nevent: session.ended\ndata: {}\r")


async def test_a_reader_that_does_not_read_does_not_affect_others(service: Running) -> None:
    session_id = (await service.create())["session_id"]
    journal = service.inside.pool.journal
    async with stream(service.http, "/v1/browser/events"), stream(service.http, "/v1/browser/events") as healthy:
        for number in range(20_000):  # 20,000 x 500 bytes: more than sockets buffer
            journal.publish("console", session_id, "admin", text=f"{number} " + "x" * 480)
            if number % 500 == 0:
                await asyncio.sleep(0)
        await healthy.until(lambda event: event["data"].get("text", "").startswith("19999 "), within=30)
        assert any(event["type"] == "gap" for event in healthy.events) or len(healthy.events) >= 20_000


PARTS = {
    "/": """<title>Parts</title><iframe src='http://localhost:{port}/frame'></iframe>
        <script>console.log('page'); new Worker('/worker.js')</script>""",
    "/frame": """<script>console.log('frame', {{a: 1}}); fetch('/gone-frame');
        setTimeout(() => {{ throw new Error('frame broke') }}); new Worker('/nested.js')</script>""",
    "/worker.js": """console.log('worker', {{a: 1}}); fetch('/gone-worker').then(() => console.log('fetched'));
        setTimeout(() => {{ throw new Error('worker broke') }})""",
    "/nested.js": "console.log('nested')",
}


async def parts_site(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
    body = PARTS.get(path, "").format(port=writer.get_extra_info("sockname")[1]).encode()
    kind = "text/javascript" if path.endswith(".js") else "text/html"
    status = "200 OK" if path in PARTS else "404 Not Found"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    writer.close()


async def test_events_of_cross_site_frames_and_workers_belong_to_their_page(service: Running) -> None:
    server = await asyncio.start_server(parts_site, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        session_id = (await service.create(start_url=f"http://127.0.0.1:{port}/"))["session_id"]
        journal = service.inside.pool.journal
        wanted = {
            ("console", "page"),
            ("console", "frame {a: 1}"),
            ("console", "worker [object Object]"),
            ("console", "nested"),
            ("page.error", "Error: frame broke"),
            ("page.error", "Error: worker broke"),
            ("network.failed", f"http://localhost:{port}/gone-frame"),
            ("network.failed", f"http://127.0.0.1:{port}/gone-worker"),
        }

        def published() -> list[tuple[str, str]]:
            events = [event for event in journal.of(session_id) if event.kind in {kind for kind, _ in wanted}]
            return [(e.kind, str(e.data.get("text", e.data.get("url"))).split("\n")[0]) for e in events]

        await until(lambda: wanted <= set(published()), what="all of them are published")
        assert sorted(each for each in published() if each in wanted) == sorted(wanted), "each must be published once"
        assert {e.data["page_id"] for e in journal.of(session_id) if e.kind == "console"} == {
            await service.first_page(session_id)
        }


async def test_a_workers_console_flood_is_truncated_and_later_workers_are_reported(service: Running) -> None:
    session_id = (await service.create(start_url="data:text/html,x"))["session_id"]
    journal = service.inside.pool.journal
    flood = "for (let i = 0; i < 2000; i++) console.log('line', {i})"
    run = "new Worker(URL.createObjectURL(new Blob([{code!r}])))"
    await service.evaluate(session_id, run.format(code=flood) + "; 0")
    await until(
        lambda: any("too fast" in e.data.get("text", "") for e in journal.of(session_id)), what="the flood is truncated"
    )
    assert len([e for e in journal.of(session_id) if e.kind == "console"]) < 300

    async def published_again() -> bool:
        await service.evaluate(session_id, run.format(code="console.log('later')") + "; 0")
        return any(e.data.get("text") == "later" for e in journal.of(session_id))

    await until(published_again, what="workers are reported again", every=0.2)
