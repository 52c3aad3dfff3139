"""A service elsewhere: a private authority, a proxy, headers and time limits of one's own."""

import ssl
import sys

import httpx

from browser_sessions import NotReachable, SyncClient


def main(url: str = "https://127.0.0.1:1", authority: str | None = None) -> None:
    client = SyncClient(
        url,
        token="a token of POST /v1/auth/token",
        verify=ssl.create_default_context(cafile=authority),
        proxy=httpx.Proxy("http://127.0.0.1:1", auth=("user", "password")),
        timeout=httpx.Timeout(10.0, connect=2.0),
        headers={"X-Team": "qa"},
        attempts=1,
    )
    try:
        with client:
            print(client.healthz().version)
    except NotReachable as error:
        print(error.reason)


if __name__ == "__main__":
    main(*sys.argv[1:])
