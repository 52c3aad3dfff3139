"""What an operator looks at: sessions by status, the pool, a metric."""

from collections import Counter

from browser_sessions import BrowserSessionResponse, StatusName, SyncClient


def of_status(client: SyncClient, status: StatusName) -> list[BrowserSessionResponse]:
    return list(client.iter_sessions(status=status, metadata={"program": "report"}))


def main() -> None:
    with SyncClient() as client:
        with client.session(metadata={"program": "report"}) as session:
            print("active:", [each.session_id == session.id for each in of_status(client, "active")])
            row = next(row for row in client.overview().sessions if row.session_id == session.id)
            print("row:", row.status, row.page_count)
        print("statuses:", dict(Counter(each.status for each in client.list(status=["closed"], limit=1).sessions)))
        pool = client.pool()
        print("places:", pool.capacity >= pool.taken, client.healthz().status, client.readyz().ready)
        print("metrics:", "browser_sessions_" in client.metrics())


if __name__ == "__main__":
    main()
