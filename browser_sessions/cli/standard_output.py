"""Standard output whose errors are those of a command: a full disk, a reader who left, a closed descriptor."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter, RawIOBase, TextIOWrapper, UnsupportedOperation
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDOUT: Final = 1


def checked(stream: TextIO | None) -> TextIO:
    """`stream`, whose writes raise `CommandError`; what cannot be encoded is escaped. None: it is closed."""
    if stream is None:
        # Else the next file that is opened would be number 1. Not for writing, so that writes fail.
        os.dup2(os.open(os.devnull, os.O_RDONLY), STDOUT)
        return _writer(STDOUT, "utf-8", line_buffering=False)
    if not isinstance(stream, TextIOWrapper):
        return stream
    try:
        return _writer(stream.fileno(), stream.encoding, line_buffering=stream.line_buffering)
    except UnsupportedOperation:  # in memory
        stream.reconfigure(errors="backslashreplace")  # a title may have what the locale's encoding does not
        return stream


@contextmanager
def reporting_failure(*, as_json: bool) -> Iterator[None]:
    """For output outside of a command, such as help."""
    from browser_sessions.cli.reports import CommandError, report

    try:
        yield
    except CommandError as error:
        report(error.code, error.detail, as_json=as_json)
        raise SystemExit(error.code) from None


def _writer(descriptor: int, encoding: str, *, line_buffering: bool) -> TextIO:
    buffer = BufferedWriter(_Output(descriptor))
    return TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=line_buffering)


class _Output(RawIOBase):
    """Fails once; what is written afterwards is discarded, so that the interpreter's last flush is no second error."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._failed = False

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        if self._failed:
            return memoryview(data).nbytes
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            from browser_sessions.cli.exit_codes import ExitCode
            from browser_sessions.cli.reports import CommandError

            self._failed = True
            if error.errno == errno.EPIPE:
                raise CommandError(ExitCode.BROKEN_PIPE, "") from None
            raise CommandError(
                ExitCode.FAILED, f"Standard output cannot be written: {error.strerror or error}."
            ) from None
