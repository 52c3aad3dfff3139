"""Uploads with the SDK, and handles of downloads."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from browser_sessions import Client, InvalidArgument, SyncClient
from browser_sessions.api.models.session_models import BrowserSessionCreated
from browser_sessions.client import Session, SyncSession
from browser_sessions.client.upload_files import PIECE_BYTES
from tests.harness.fakes.scripted_service import CREATED, ID, ScriptedService, ok

UPLOAD: Final = {"upload_id": "upl_1", "name": "a.txt", "size": 5, "path": "/work/a.txt"}
HANDLE: Final = BrowserSessionCreated.model_validate(CREATED)


class Pipe(io.RawIOBase):
    """A file that cannot say how long it is."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


class Uploaded(httpx.AsyncBaseTransport, httpx.BaseTransport):
    """Takes uploads. `seen` has the name, the announced length and the content of each."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None, bytes]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request, await request.aread())

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._answer(request, request.read())

    def _answer(self, request: httpx.Request, content: bytes) -> httpx.Response:
        assert request.headers["Content-Type"] == "application/octet-stream"
        self.seen.append((request.url.params["name"], request.headers.get("Content-Length"), content))
        return ok(UPLOAD, 201)


@pytest.fixture
def service() -> Uploaded:
    return Uploaded()


def read_to(file: io.BytesIO, position: int) -> io.BytesIO:
    file.seek(position)
    return file


@pytest.mark.parametrize(
    ("make", "name", "expected"),
    [
        (lambda folder: folder / "a.txt", None, ("a.txt", "5", b"hello")),
        (lambda folder: str(folder / "a.txt"), "docs/b", ("docs/b", "5", b"hello")),
        (lambda _: b"hello", "b", ("b", "5", b"hello")),
        (lambda _: b"", "b", ("b", "0", b"")),
        (lambda _: read_to(io.BytesIO(b"hello"), 2), "b", ("b", "3", b"llo")),
        (lambda _: Pipe(b"x" * PIECE_BYTES + b"y"), "b", ("b", None, b"x" * PIECE_BYTES + b"y")),
    ],
    ids=["path", "path as text", "bytes", "no bytes", "from its position", "pipe"],
)
async def test_a_path_bytes_and_file_objects_are_uploaded(
    service: Uploaded,
    tmp_path: Path,
    make: Callable[[Path], Any],
    name: str | None,
    expected: tuple[str, str | None, bytes],
) -> None:
    (tmp_path / "a.txt").write_bytes(b"hello")
    async with Client("http://service", "k", transport=service) as client:
        made = await Session(client, HANDLE).upload(make(tmp_path), name=name)
    with SyncClient("http://service", "k", transport=service) as sync:
        assert SyncSession(sync, HANDLE).upload(make(tmp_path), name=name) == made
        with (tmp_path / "a.txt").open("rb") as file:
            sync.upload(ID, file)
            assert not file.closed, "it is the caller's"
    assert made.model_dump() == UPLOAD
    assert service.seen.pop() == ("a.txt", "5", b"hello")
    assert service.seen == [expected] * 2


async def test_what_is_no_file_is_an_invalid_argument(service: Uploaded, tmp_path: Path) -> None:
    wrong: list[Any] = [b"x", io.StringIO("x"), 5, None]
    (tmp_path / "empty").mkdir()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a").symlink_to("/etc/passwd")
    async with Client("http://service", "k", transport=service) as client:
        for file, name in zip(wrong, (None, "a", "a", "a"), strict=True):
            with pytest.raises(InvalidArgument):
                await client.upload(ID, file, name=name)
        for folder, text in (("empty", "no files"), ("links", "symbolic link")):
            with pytest.raises(InvalidArgument, match=text):
                await client.upload_folder(ID, tmp_path / folder)
        for missing in (client.upload(ID, tmp_path / "none"), client.upload_folder(ID, tmp_path / "none")):
            with pytest.raises(FileNotFoundError):
                await missing
    assert service.seen == []


async def test_a_folder_is_uploaded_file_by_file(service: Uploaded, tmp_path: Path) -> None:
    (tmp_path / "docs" / "old").mkdir(parents=True)
    for name in ("b", "old/a"):
        (tmp_path / "docs" / name).write_text(name)
    async with Client("http://service", "k", transport=service) as client:
        assert len(await Session(client, HANDLE).upload_folder(tmp_path / "docs")) == 2
    with SyncClient("http://service", "k", transport=service) as sync:
        SyncSession(sync, HANDLE).upload_folder(str(tmp_path / "docs"), name="new")
    assert service.seen == [
        ("docs/b", "1", b"b"),
        ("docs/old/a", "5", b"old/a"),
        ("new/b", "1", b"b"),
        ("new/old/a", "5", b"old/a"),
    ]


async def test_the_handle_of_a_download_saves_reads_and_deletes_it(tmp_path: Path) -> None:
    files = [httpx.Response(200, content=b"hello")] * 3
    script = ScriptedService(*files, httpx.Response(204))
    async with Client("http://service", "k", transport=script) as client:
        download = Session(client, HANDLE).download("d")
        assert await download.save_as(tmp_path / "a") == tmp_path / "a"
        assert await download.read() == b"".join([piece async for piece in download.aiter_bytes()]) == b"hello"
        await download.delete()
    with SyncClient("http://service", "k", transport=ScriptedService(*files)) as sync:
        same = SyncSession(sync, HANDLE).download("d")
        assert same.save_as(str(tmp_path / "b")).read_bytes() == same.read() == b"".join(same.iter_bytes())
