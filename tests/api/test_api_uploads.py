"""Uploads over HTTP: names, forms, quota, and who may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest_asyncio

from browser_sessions.api.middleware.edge import DISCARDED_BYTES
from browser_sessions.api.upload_body import MAX_FORM_BYTES
from tests.harness.fakes.fake_node import ADMIN_KEY, UPLOAD_QUOTA, Node, node

ADMIN: Final = {"X-API-Key": ADMIN_KEY}
FORM: Final = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[Node]:
    async with node(tmp_path) as service:
        yield service


@pytest_asyncio.fixture
async def path(service: Node) -> str:
    made = (await service.client.post("/v1/browser/sessions", headers=ADMIN, json={})).json()
    return f"/v1/browser/sessions/{made['session_id']}/uploads"


def part(*headers: str, content: bytes = b"hello") -> bytes:
    return b"--b\r\n" + "".join(f"{each}\r\n" for each in headers).encode() + b"\r\n" + content + b"\r\n"


def file_part(filename: str, content: bytes = b"hello") -> bytes:
    return part(f'Content-Disposition: form-data; name="file"; filename="{filename}"', content=content)


async def in_pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def test_a_file_is_uploaded_listed_and_removed(service: Node, path: str) -> None:
    response = await service.client.post(path, headers=ADMIN, params={"name": "a.txt"}, content=b"hello")
    assert response.status_code == 201, response.text
    made = response.json()
    assert {name: made[name] for name in ("name", "size")} == {"name": "a.txt", "size": 5}
    assert list(made) == ["upload_id", "name", "size", "path"]
    assert Path(made["path"]).read_bytes() == b"hello"
    assert (await service.client.get(path, headers=ADMIN)).json() == {"uploads": [made]}
    removed, again = [await service.client.delete(f"{path}/{made['upload_id']}", headers=ADMIN) for _ in range(2)]
    assert (removed.status_code, again.status_code) == (204, 404)
    assert again.json()["type"] == "urn:browser-sessions:problem:upload-not-found"
    assert not Path(made["path"]).exists()
    await service.client.delete(path.removesuffix("/uploads"), headers=ADMIN)
    assert (await service.client.get(path, headers=ADMIN)).json() == {"uploads": []}
    late = await service.client.post(path, headers=ADMIN, params={"name": "a"}, content=b"")
    assert late.status_code == 409


async def test_a_form_has_the_file_and_its_name(service: Node, path: str) -> None:
    content = b"\r\n--b-\r\n\r\n--" * 20
    before = part('Content-Disposition: form-data; name="other"', content=b"ignored")
    body = before + file_part("Grüße %22x%22.txt", content) + b"--b--\r\n"
    for size in (1, 7, 10_000):
        response = await service.client.post(path, headers=ADMIN | FORM, content=in_pieces(body, size))
        assert response.status_code == 201, response.text
        assert response.json()["name"] == 'Grüße "x".txt'
        assert Path(response.json()["path"]).read_bytes() == content
    named = await service.client.post(path, headers=ADMIN, params={"name": "docs/b"}, files={"file": ("a", b"x")})
    assert named.json()["name"] == "docs/b"


async def refused_field(service: Node, path: str, **sent: Any) -> list[str]:
    """The field that the refusal of an upload names."""
    response = await service.client.post(path, **sent)
    assert response.status_code == 422, response.text
    field: list[str] = response.json()["detail"][0]["loc"]
    return field


async def test_a_form_that_is_wrong_is_refused_by_the_field(service: Node, path: str) -> None:
    last = b"--b--\r\n"
    cases: list[tuple[bytes, list[str]]] = [
        (b"", ["body", "file"]),
        (last, ["body", "file"]),
        (part('Content-Disposition: form-data; name="file"') + last, ["body", "file"]),
        (file_part("a") + file_part("b") + last, ["body", "file"]),
        (file_part("a"), ["body"]),
        (file_part("a")[:-9], ["body"]),
        (part('Content-Disposition: form-data; name="name"') + file_part("a") + last, ["body", "name"]),
        (file_part("a") + part('Content-Disposition: form-data; name="name"') + last, ["body", "name"]),
        (b"no form", ["body"]),
        (part("no header") + last, ["body"]),
        (part("X: " + "x" * 5000) + last, ["body"]),
        (part("X: x", content=b"x" * MAX_FORM_BYTES) + file_part("a") + last, ["body"]),
        *((file_part(name) + last, ["body", "filename"]) for name in ("../a", "a/../../b", "a\\b", "a\0b", "")),
        (file_part("?").replace(b"?", b"\xff") + last, ["body", "filename"]),
    ]
    for body, field in cases:
        assert await refused_field(service, path, headers=ADMIN | FORM, content=body) == field, body[:100]
    for value in ("multipart/form-data", f"multipart/form-data; boundary={'b' * 300}"):
        headers = ADMIN | {"Content-Type": value}
        assert await refused_field(service, path, headers=headers, content=b"x") == ["header", "content-type"]
    assert (await service.client.get(path, headers=ADMIN)).json() == {"uploads": []}


async def test_a_name_that_is_none_is_refused_by_the_field(service: Node, path: str) -> None:
    for name in (None, "", "..", "../a", "/etc/passwd", "a\0", "a\\b", "a\nb", "\u202ea", "x" * 256):
        query = {} if name is None else {"name": name}
        field = await refused_field(service, path, headers=ADMIN, params=query, content=b"x")
        assert field == ["query", "name"], name


async def test_more_than_the_quota_is_refused_whether_it_is_announced_or_not(service: Node, path: str) -> None:
    small = await service.client.post(path, headers=ADMIN, params={"name": "a"}, content=b"x" * 2**20)
    assert small.status_code == 201
    large = b"x" * UPLOAD_QUOTA
    form = {"files": {"file": ("b", large)}}
    bodies: list[dict[str, Any]] = [{"content": large}, {"content": in_pieces(large, 2**16)}, form]
    for body in bodies:
        response = await service.client.post(path, headers=ADMIN, params={"name": "b"}, **body)
        problem = response.json()
        assert (problem["status"], problem["type"]) == (413, "urn:browser-sessions:problem:upload-too-large")
        assert str(UPLOAD_QUOTA - 2**20) in problem["detail"]
    labels = {"direction": "upload", "outcome": "refused"}
    assert service.metrics.registry.get_sample_value("browser_sessions_files_total", labels) == len(bodies)
    fits = await service.client.post(path, headers=ADMIN, params={"name": "b"}, content=large[2**20 :])
    assert fits.status_code == 201, fits.text


async def test_the_body_of_a_caller_who_may_not_is_not_read(service: Node, path: str) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield b"x" * 2**20

    for credential, status in (({}, 401), ({"X-API-Key": "wrong"}, 401), (await service.key(), 404)):
        response = await service.client.post(path, headers=credential, params={"name": "a"}, content=body())
        assert (response.status_code, read) == (status, 0)
        assert response.headers["connection"] == "close", "the rest of a body without an end is not read either"


async def test_a_long_body_is_read_to_its_end_after_an_error_if_its_sender_is_known(service: Node, path: str) -> None:
    """Many clients do not look for a response when the connection is closed while they send."""
    announced = {"Content-Length": str(DISCARDED_BYTES + 1)}
    for credential, status in ((ADMIN, 413), (await service.key(), 404), ({}, 401)):
        response = await service.client.post(path, headers=credential | announced, params={"name": "a"}, content=b"")
        assert (response.status_code, response.headers.get("connection")) == (
            status,
            "close" if status == 401 else None,
        )


async def test_a_compressed_file_is_refused(service: Node, path: str) -> None:
    response = await service.client.post(
        path, headers=ADMIN | {"Content-Encoding": "gzip"}, params={"name": "a"}, content=b"x"
    )
    assert response.status_code == 415
    assert "as it is" in response.json()["detail"]
