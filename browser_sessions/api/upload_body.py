"""The body of an upload, as its bytes arrive: the file as it is, or a form (multipart/form-data) with one file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from browser_sessions.domain.errors import InvalidField

FORM: Final = "multipart/form-data"
MAX_FORM_BYTES: Final = 64 * 2**10
"""Of a form without its file: boundaries, headers, other fields."""


@dataclass(frozen=True, slots=True)
class UploadBody:
    name: str
    where: tuple[str, str]
    """Where the caller wrote the name, as FastAPI writes it."""
    size: int | None
    """Bytes, where the caller says so before."""
    content: AsyncIterator[bytes]
    """Raises `InvalidField`, `ClientDisconnect`."""


async def read(request: Request, name: str | None) -> UploadBody:
    """The file in the body of a request; `name` is its name if the caller has given one outside the body. Raises
    `InvalidField`, `ClientDisconnect`."""
    media_type, parameters = parse_options_header(request.headers.get("content-type"))
    if media_type.decode("latin-1") != FORM:
        if name is None:
            raise InvalidField(("query", "name"), "give the file's name, or send the file in a form (multipart)")
        length = request.headers.get("content-length", "")
        return UploadBody(name, ("query", "name"), int(length) if length.isdigit() else None, request.stream())
    boundary = parameters.get(b"boundary")
    if not boundary:
        raise InvalidField(("header", "content-type"), "must name the form's boundary")
    form = _Form(boundary)
    chunks = request.stream()
    async for chunk in chunks:
        form.feed(chunk)
        if form.filename is not None:
            break
    else:
        raise InvalidField(("body", "file"), "the form has no file: a part with a filename")
    if name is not None:
        return UploadBody(name, ("query", "name"), None, _file_of(form, chunks))
    return UploadBody(form.filename, ("body", "filename"), None, _file_of(form, chunks))


async def _file_of(form: _Form, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield form.take()
    async for chunk in chunks:
        form.feed(chunk)
        yield form.take()
    if not form.complete:
        raise InvalidField(("body",), "the form ends before its last boundary")


class _Form:
    """A form with one file. Collects the file's bytes until they are taken."""

    def __init__(self, boundary: bytes) -> None:
        self.filename: str | None = None
        """None until the head of the file's part has been read."""
        self.complete = False
        self._content = bytearray()
        self._other_bytes = 0
        self._in_file = False
        self._header = self._value = b""
        self._parser: MultipartParser
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise InvalidField(("header", "content-type"), f"the form cannot be read: {error}") from None

    def feed(self, chunk: bytes) -> None:
        """Raises `InvalidField`."""
        before = len(self._content)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise InvalidField(("body",), f"the form cannot be read: {error}") from None
        self._other_bytes += len(chunk) - (len(self._content) - before)
        if self._other_bytes > MAX_FORM_BYTES:
            raise InvalidField(("body",), f"a form may have {MAX_FORM_BYTES} bytes besides its file")

    def take(self) -> bytes:
        content = bytes(self._content)
        self._content.clear()
        return content

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        header, value = self._header.lower(), self._value
        self._header = self._value = b""
        if header != b"content-disposition":
            return
        _, parameters = parse_options_header(value)
        filename = parameters.get(b"filename")
        if filename is None:
            if parameters.get(b"name") == b"name":  # could come after the file, whose place depends on it
                raise InvalidField(("body", "name"), "must be sent as ?name=, or as the filename of the form's file")
            return
        if self.filename is not None:
            raise InvalidField(("body", "file"), "send one file a request")
        self._in_file = True
        self.filename = filename.decode("utf-8", "surrogateescape").replace("%22", '"')  # as browsers write a quote

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._content += data[start:end]

    def _on_part_end(self) -> None:
        self._in_file = False

    def _on_end(self) -> None:
        self.complete = True
