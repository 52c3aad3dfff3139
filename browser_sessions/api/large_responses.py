"""Limits of large responses: the size of one, and what a caller has not read yet of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from browser_sessions.domain.errors import PageFailed, QuotaExceeded

MIB: Final = 2**20
MAX_RESULT_BYTES: Final = 32 * MIB
"""Of a value, a page's HTML, a screenshot, a PDF or a storage state in one response. Larger ones can be had in parts,
or over CDP."""
UNSENT_BYTES: Final = 64 * MIB
"""Unread responses of one principal; before it is known, of an address. Two of the largest; a caller that reads has
hardly more than one in transit."""
PIECE_BYTES: Final = 64 * 2**10
"""Longer bodies are sent in pieces of this size, each when the one before has left: until then the rest counts."""


class UnsentResponses:
    """Bytes of large responses that wait for their callers, by principal or address."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()

    def check(self, holder: str) -> None:
        """Raises `QuotaExceeded` if the largest possible response would exceed the limit."""
        if not self.fits(holder, MAX_RESULT_BYTES):
            raise QuotaExceeded(
                f"More than {(UNSENT_BYTES - MAX_RESULT_BYTES) // MIB} MiB of the responses to your earlier requests "
                "wait to be read. Read them, or close their connections, and try again."
            )

    def fits(self, holder: str, size: int) -> bool:
        """Whether a response of `size` bytes may wait too. One alone always may."""
        return not self._held[holder] or self._held[holder] + size <= UNSENT_BYTES

    @contextmanager
    def holding(self, holder: str, size: int) -> Iterator[None]:
        """Counts a response in the block."""
        self._held[holder] += size
        try:
            yield
        finally:
            self._held -= Counter({holder: size})  # drops holders without any


def dropped(size: int) -> QuotaExceeded:
    """The error in place of a response that exceeds the limit: it is known only when the request has been handled."""
    return QuotaExceeded(
        f"The request was carried out, but its response of {size} bytes was dropped: it and the responses to your "
        f"earlier requests that wait to be read have more than {UNSENT_BYTES // MIB} MiB. Read them first."
    )


def bounded(body: bytes, what: str, advice: str, error: type[PageFailed] = PageFailed) -> bytes:
    """`body`, if it is no larger than `MAX_RESULT_BYTES`. Raises `error`."""
    if len(body) > MAX_RESULT_BYTES:
        raise error(f"{what} has {len(body)} bytes; a response may have {MAX_RESULT_BYTES}. {advice}")
    return body
