"""The configuration of docs/guides/behind-nginx.md under a real nginx, on free loopback ports."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.harness.documents import blocks
from tests.harness.paths import ROOT
from tests.harness.waiting import until

NGINX: Final = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
GUIDE: Final = ROOT / "docs" / "guides" / "behind-nginx.md"
SAME: Final = "# … the same settings as above"


def configuration(folder: Path, port: int, service: str) -> str:
    """Both blocks of the guide, without TLS."""
    server, path = (block.text for block in blocks(GUIDE) if block.language == "nginx")
    settings = re.findall(r"(?m)^        (proxy_(?!pass).*)$", server)
    end = server.rindex("}")
    http = server[:end] + path.replace(SAME, "\n".join(settings)) + server[end:]
    http = re.sub(r"(?m)^ *ssl_certificate.*\n", "", http).replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    http = http.replace("/var/log/nginx", str(folder)).replace("127.0.0.1:8000", service)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    own = f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log {folder}/start.log;\n"
    return f"{own}events {{}}\nhttp {{\naccess_log off;\n{temporary}{http}}}\n"


@asynccontextmanager
async def nginx(folder: Path, service: str) -> AsyncIterator[str]:
    """The URL of an nginx in front of `service` (host and port)."""
    assert NGINX is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = folder / "nginx.conf"
    file.write_text(configuration(folder, port, service), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(NGINX, "-p", str(folder), "-c", str(file))

    def listens() -> bool:
        with socket.socket() as probe:
            return process.returncode is not None or probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        await until(listens, what="nginx listens")
        assert process.returncode is None, (folder / "start.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
