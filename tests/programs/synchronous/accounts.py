"""An admin gives access to others."""

from browser_sessions import Forbidden, NameTaken, SyncClient, Unauthorized

PASSWORD = "correct horse battery"


def main() -> None:
    with SyncClient() as admin:
        key = admin.create_key("ci", role="client")
        with SyncClient(admin.url, key.key) as ci:
            try:
                ci.pool()
            except Forbidden as error:
                print("forbidden:", error.title)
            admin.revoke_key(key.key_id)
            try:
                ci.list()
            except Unauthorized:
                print("revoked")
        admin.create_user("ann", PASSWORD, role="operator")
        try:
            admin.create_user("ann", PASSWORD)
        except NameTaken:
            print("taken")
        token = admin.token("ann", PASSWORD, scope="client")
        with SyncClient(admin.url, token=token.access_token) as ann:
            print("token:", token.scope, ann.list().sessions)
        print("removed:", admin.remove_user("ann").username, token)


if __name__ == "__main__":
    main()
