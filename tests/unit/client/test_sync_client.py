"""The sync client is generated from the async one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_sync_client_is_up_to_date() -> None:
    script = ROOT / "scripts" / "gen_sync_client.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run python {script.relative_to(ROOT)}{done.stderr}"
