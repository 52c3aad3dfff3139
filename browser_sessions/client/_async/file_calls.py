"""Operations on the files of sessions: downloads and uploads."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Sequence
from os import PathLike
from pathlib import Path

from browser_sessions.api.models.file_models import DownloadList, DownloadResponse, UploadList, UploadResponse
from browser_sessions.client._async.transport import Transport, parsed
from browser_sessions.client.concurrency import async_blocking
from browser_sessions.client.errors import InvalidArgument
from browser_sessions.client.paths import download_path, session_path, upload_path
from browser_sessions.client.upload_files import PIECE_BYTES, Source, Uploadable, members, opened


class FileCalls:
    """Every method raises `ClientError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    # -- downloads -------------------------------------------------------------------------------------------------

    async def downloads(self, session_id: str) -> Sequence[DownloadResponse]:
        """The session's downloads, oldest first."""
        return parsed(DownloadList, await self._transport.send("GET", session_path(session_id, "downloads"))).downloads

    async def download(self, session_id: str, download_id: str) -> bytes:
        """The content of a completed download, in memory."""
        return (await self._transport.send("GET", download_path(session_id, download_id))).content

    async def iter_download(self, session_id: str, download_id: str) -> AsyncGenerator[bytes]:
        """The content of a completed download in pieces, as they arrive."""
        async with self._transport.stream(download_path(session_id, download_id)) as response:
            async for piece in response.aiter_bytes():
                yield piece

    async def save_download(self, session_id: str, download_id: str, path: str | Path) -> Path:
        """Writes a completed download to a file, which is there only once it is complete. Also raises `OSError`."""
        target = Path(path)
        partial = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with await async_blocking(partial.open, "xb") as file:
                async for piece in self.iter_download(session_id, download_id):
                    await async_blocking(file.write, piece)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    async def delete_download(self, session_id: str, download_id: str) -> None:
        """Deletes a download, which frees its share of the quota; cancels one in progress."""
        await self._transport.send("DELETE", download_path(session_id, download_id))

    # -- uploads ---------------------------------------------------------------------------------------------------

    async def uploads(self, session_id: str) -> Sequence[UploadResponse]:
        """The session's uploads, oldest first."""
        return parsed(UploadList, await self._transport.send("GET", session_path(session_id, "uploads"))).uploads

    async def upload(self, session_id: str, file: Uploadable, *, name: str | None = None) -> UploadResponse:
        """Uploads a file for the session's pages: a path, bytes, or a binary file object, which is read from its
        position. It is sent while it is read. `name` is by default the file's own, and necessary for bytes; with
        folders in it, `docs/a.txt`, it is a file of a folder. The `path` of the result is for file inputs, over CDP.
        Also raises `OSError`."""
        path = session_path(session_id, "uploads")
        source = await async_blocking(opened, file, name)
        try:
            headers = {"Content-Type": "application/octet-stream"}
            if source.size is not None:
                headers["Content-Length"] = str(source.size)
            response = await self._transport.send(
                "POST", path, content=_pieces(source), query={"name": source.name}, headers=headers
            )
        finally:
            await async_blocking(source.close)
        return parsed(UploadResponse, response)

    async def upload_folder(
        self, session_id: str, folder: str | PathLike[str], *, name: str | None = None
    ) -> Sequence[UploadResponse]:
        """Uploads all files of a folder, one after the other. They have the same `path`, that of the folder. `name` is
        by default the folder's own. A symbolic link in it is an `InvalidArgument`. Also raises `OSError`."""
        base = Path(folder)
        top = name or (await async_blocking(base.resolve)).name
        files = await async_blocking(members, base)
        return [
            await self.upload(session_id, each, name=f"{top}/{each.relative_to(base).as_posix()}") for each in files
        ]

    async def delete_upload(self, session_id: str, upload_id: str) -> None:
        """Deletes an upload, which frees its share of the quota."""
        await self._transport.send("DELETE", upload_path(session_id, upload_id))


class Download:
    """A download of a session, of `session.download()`."""

    def __init__(self, calls: FileCalls, session_id: str, download_id: str) -> None:
        self._calls = calls
        self._session_id = session_id
        self.download_id = download_id

    def __repr__(self) -> str:
        return f"<Download {self.download_id}>"

    async def read(self) -> bytes:
        """The content of a completed download, in memory."""
        return await self._calls.download(self._session_id, self.download_id)

    def aiter_bytes(self) -> AsyncGenerator[bytes]:
        """The content of a completed download in pieces, as they arrive."""
        return self._calls.iter_download(self._session_id, self.download_id)

    async def save_as(self, path: str | Path) -> Path:
        """Writes a completed download to a file, which is there only once it is complete. Also raises `OSError`."""
        return await self._calls.save_download(self._session_id, self.download_id, path)

    async def delete(self) -> None:
        """Deletes the download, which frees its share of the quota; cancels one in progress."""
        await self._calls.delete_download(self._session_id, self.download_id)


async def _pieces(source: Source) -> AsyncGenerator[bytes]:
    while piece := await async_blocking(source.file.read, PIECE_BYTES):
        if not isinstance(piece, bytes):
            raise InvalidArgument("file must be opened in binary mode.")
        yield piece
