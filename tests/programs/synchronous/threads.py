"""One client for several threads."""

from concurrent.futures import ThreadPoolExecutor

from browser_sessions import SyncClient


def main() -> None:
    with SyncClient() as client, ThreadPoolExecutor(4) as threads:

        def square(number: int) -> int:
            with client.session(wait_seconds=30) as session:
                result = session.evaluate(f"{number} ** 2")
                assert isinstance(result, int)
                return result

        print(sum(threads.map(square, range(4))))


if __name__ == "__main__":
    main()
