"""The title of a page."""

from browser_sessions import SyncClient


def main() -> None:
    with SyncClient() as client, client.session(device="iPhone 15") as session:
        page = session.goto("data:text/html,<title>Hello</title>", wait_until="domcontentloaded")
        print(page.title, session.evaluate("navigator.userAgent.includes('iPhone')"))


if __name__ == "__main__":
    main()
