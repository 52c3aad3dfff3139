"""A collector of OpenTelemetry spans over OTLP/HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.harness.waiting import until


class Receiver:
    """A collector that records every span."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.resource: dict[str, str] = {}
        self.spans: list[Any] = []
        self.others: list[str] = []
        """Paths of requests other than spans."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.partition("content-length:")[2].split("\r\n")[0])
                self._keep(head.split(" ")[1], await reader.readexactly(length))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _keep(self, path: str, body: bytes) -> None:
        self.bodies.append(body)
        if path != "/v1/traces":
            self.others.append(path)
            return
        for each in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = {fact.key: fact.value.string_value for fact in each.resource.attributes}
            self.spans += [span for scope in each.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    async def one(self, name: str) -> Any:
        await until(lambda: self.named(name), what=f"a span {name}")
        return self.named(name)[-1]


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Receiver, str]]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0)
    async with server:
        yield receiver, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
