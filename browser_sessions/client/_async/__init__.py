"""The async client. `scripts/gen_sync_client.py` makes `client/_sync` from this package: change it here only."""
