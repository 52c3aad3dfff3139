"""Pages in several processes. What the SDK raises in one of them arrives here."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from browser_sessions import ScriptFailed, SyncClient


def evaluate(script: str) -> object:
    with SyncClient() as client, client.session() as session:
        return session.evaluate(script)


def main() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        results = [pool.submit(evaluate, script) for script in ("throw new TypeError('no')", "1 + 1")]
        try:
            results[0].result()
        except ScriptFailed as error:
            print(error.status, error.detail)
        print(results[1].result())


if __name__ == "__main__":
    main()
