"""One program starts a session and prints its id; another one uses it, and a third one waits for its end."""

from browser_sessions import SyncClient, WaitTimeout


def start() -> str:
    with SyncClient() as client:
        return client.create(start_url="data:text/html,<title>Mine</title>").session_id


def use(session_id: str) -> str:
    with SyncClient() as client:
        session = client.attach(session_id)
        session.keepalive(extend_seconds=60)
        return session.content().title


def main() -> None:
    session_id = start()
    print(use(session_id))
    with SyncClient() as client:
        session = client.attach(session_id)
        try:
            session.wait_for("closed", timeout=0.01)
        except WaitTimeout as error:
            print("waiting:", error.session_id == session_id)
        session.end()
        print(session.wait_for("closed", timeout=5).status, session.details().end_reason)
        print(session.history().events[-1].type)


if __name__ == "__main__":
    main()
