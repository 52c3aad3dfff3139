"""A web application that renders pages. Its client lives as long as the application."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, Response

from browser_sessions import Busy, Client, Conflict


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with Client(attempts=2, timeout=20.0) as client:
        app.state.client = client
        yield


def client_of(request: Request) -> Client:
    client = request.app.state.client
    assert isinstance(client, Client)
    return client


app = FastAPI(lifespan=lifespan)


@app.get("/render")
async def render(url: str, client: Annotated[Client, Depends(client_of)]) -> Response:
    try:
        async with client.session(start_url=url, idle_timeout_seconds=30) as session:
            return Response(await session.pdf(), media_type="application/pdf")
    except Busy as error:
        raise HTTPException(503, headers={"Retry-After": str(error.retry_after or 5)}) from error
    except Conflict as error:
        raise HTTPException(502, error.detail) from error
