"""`python -m tests.harness.scenarios.probe URL FILE` asks a service for `/healthz` again and again, until it is killed,
and appends each latency in seconds to the file. A process of its own, whose imports take no time."""

from __future__ import annotations

import http.client
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

EVERY_S = 0.02
PROBE_TIMEOUT_S = 10.0
"""What a probe counts that had no response, too."""


def probe(url: str, file: Path) -> None:
    port = urlsplit(url).port
    with file.open("a", buffering=1) as written:
        while True:
            began = time.perf_counter()
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PROBE_TIMEOUT_S)
                connection.request("GET", "/healthz")
                good = connection.getresponse().status == 200
                connection.close()
            except OSError:
                good = False
            written.write(f"{time.perf_counter() - began if good else PROBE_TIMEOUT_S}\n")
            time.sleep(EVERY_S)


if __name__ == "__main__":
    probe(sys.argv[1], Path(sys.argv[2]))
