"""Limits that more than one file enforces."""

from __future__ import annotations

from typing import Final

MAX_PAGES: Final = 20
"""Open pages of a session. The API opens no more in its own context (`Context._new_page`), CDP clients no more in all
of its contexts (`policy.target_rules._create_target`). Windows that pages open beyond it are closed, as the popup
blocker is off: in its own context by `Context._on_page_event`, in clients' contexts by
`SharedSession.target_created`."""
MAX_NESTED: Final = 16
"""Browser contexts created by a session's clients: each costs the browser about 4 MB and 4 ms."""
MAX_SIDE: Final = 8192
"""CSS pixels of one side of a viewport or window."""
MAX_PIXELS: Final = 8192 * 8192
"""Device pixels of an image: 256 MB of bitmap. A viewport three times as large hung a renderer for six seconds; one
screenshot of 20,000 by 20,000 took the GPU process, which all sessions of a browser share, past 1 GB and the next ones
past 4 (headless shell 156)."""
MAX_COOKIES: Final = 5_000
"""Set by one request or command: 42,000 took the event loop 0.3 s."""
MAX_TIMEOUT_SECONDS: Final = 2_592_000
"""Thirty days, for a session's idle timeout and lifetime."""
URL_CHARACTERS: Final = 65_536
"""Length of a URL that a caller or an operator navigates to."""
TEXT_CHARACTERS: Final = 500
"""Length of an untrusted text (from a page, site or caller) in one event or error."""
