#!/usr/bin/env bash
# Writes constraints.txt: the versions that pip resolves today in a fresh environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[dev]' 2>"$scratch/log" || {
    cat "$scratch/log" >&2
    exit 1
}
{
    echo "# Exact versions that the tests ran with. 'make lock' writes this file."
    "$scratch/venv/bin/python" -m pip freeze --disable-pip-version-check --exclude-editable 2>/dev/null
} >"$scratch/constraints.txt"
if grep -n '@\|://' "$scratch/constraints.txt" >&2; then
    echo "lock: a package came from a path or an address instead of a version" >&2
    exit 1
fi
mv "$scratch/constraints.txt" constraints.txt
