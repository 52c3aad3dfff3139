#!/usr/bin/env bash
# Creates .venv with all dependencies of the project and ensures that there is a browser.
# It can be run repeatedly: it does only what is missing, and prints nothing if nothing is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv
readonly STAMP=$VENV/.setup-stamp
readonly BROWSER_STAMP=$VENV/.browser-found
readonly LOG=$VENV/setup.log

say() { printf '%s\n' "$*" >&2; }
stop() {
    say "setup: $*"
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }
can_apt() { [[ $(id -u) == 0 ]] && has apt-get; }

apt_output=
apt_updated=no
apt_install() {
    if [[ $apt_updated == no ]]; then
        apt-get update -qq >/dev/null 2>&1 || true # an old package list may be enough
        apt_updated=yes
    fi
    apt_output=$(DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" 2>&1 </dev/null)
}

# Concurrent calls wait for each other if the system has flock (the descriptor closes with this script).
exec 9<scripts/setup.sh
if has flock; then flock 9; fi

# ---- Python -------------------------------------------------------------------------------------------------------
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python; do
        if new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

make_venv() {
    local python
    python=$(find_python) || stop "Python 3.11 or newer is needed and not found: install it, or name it with PYTHON=/path/to/python3."
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        local package
        package=$("$python" -c 'import sys; print(f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")')
        can_apt || stop "$python cannot make virtual environments: install its venv module (on Debian: apt-get install $package, as root)."
        say "Installing $package ..."
        apt_install "$package" || apt_install python3-venv || stop "could not install $package; apt-get reported: ${apt_output##*$'\n'}"
        "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || stop "$python cannot make virtual environments, even with $package."
    fi
    rm -rf "$VENV"
    "$python" -m venv "$VENV" || stop "could not make the virtual environment $VENV; the output above has the reason."
}

# A folder that was moved, whose Python is gone or that is incomplete is created again; any other is updated.
venv_is_sound() {
    new_enough "$VENV/bin/python" && grep -qsF "$PWD/$VENV" "$VENV/bin/activate" && "$VENV/bin/python" -c 'import pip' 2>/dev/null
}

wanted_stamp() { { cat pyproject.toml constraints.txt scripts/setup.sh && pwd; } | sha256sum; }
has sha256sum || wanted_stamp() { { cat pyproject.toml constraints.txt scripts/setup.sh && pwd; } | shasum -a 256; }

install_dependencies() {
    local wanted
    wanted=$(wanted_stamp)
    if [[ -x $VENV/bin/python && -f $STAMP && $(<"$STAMP") == "$wanted" ]] && new_enough "$VENV/bin/python"; then
        return
    fi
    if ! venv_is_sound; then make_venv; fi
    say "Installing the dependencies into $VENV (about a minute the first time) ..."
    "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input -c constraints.txt -e '.[dev]' >"$LOG" 2>&1 || {
        tail -n 15 "$LOG" >&2
        stop "pip could not install the dependencies; the end of $LOG is above."
    }
    rm -f "$BROWSER_STAMP" # another version of Playwright may need another browser
    printf '%s\n' "$wanted" >"$STAMP"
}

# ---- Browser ------------------------------------------------------------------------------------------------------
# Prints path and version of the browser that browser_sessions/chromium/launch/executable.py chooses, as in the service.
# Exit status 3: there is none; 4: there is one, but it does not run.
locate_browser() {
    "$VENV/bin/python" - <<'PYTHON'
import asyncio, os, sys
from pathlib import Path

from browser_sessions.chromium.launch.executable import EXECUTABLE_SETTING, locate, version
from browser_sessions.domain.errors import BrowserMissing

named = os.environ.get(EXECUTABLE_SETTING)
try:
    found = locate(Path(named) if named else None)
except BrowserMissing as error:
    print(error)
    sys.exit(3)
try:
    answer = asyncio.run(version(found))
except BrowserMissing as error:
    print(error)
    sys.exit(4)
print(f"{found.executable}\n{answer} ({found.source})")
PYTHON
}

# Downloads may take two minutes if Debian's package is the alternative, else ten: the archive has 110 MB.
download_browser() {
    local limit=600
    if can_apt; then limit=120; fi
    local bounded=()
    if has timeout; then bounded=(timeout --kill-after=5 "$limit"); fi
    say "Looking for Playwright's headless shell (110 MB) ..."
    # Ten seconds for a connection, so that a machine without Internet access fails quickly.
    PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT=${PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT:-10000} \
        ${bounded[@]+"${bounded[@]}"} "$VENV/bin/python" -m playwright install --only-shell chromium >>"$LOG" 2>&1 </dev/null
}

ensure_browser() {
    local named=${BROWSER_SESSIONS_BROWSER_EXECUTABLE:-}
    if [[ -f $BROWSER_STAMP ]]; then
        local known
        known=$(head -n 1 "$BROWSER_STAMP")
        if [[ -x $known && (-z $named || $named == "$known") ]]; then return; fi
    fi
    local answer status=0
    answer=$(locate_browser) || status=$?
    if [[ $status == 3 && -z $named ]]; then
        status=0
        if download_browser; then :; elif can_apt; then
            say "It cannot be downloaded here; installing Debian's chromium-headless-shell ..."
            apt_install chromium-headless-shell || true
        fi
        answer=$(locate_browser) || status=$?
    fi
    if [[ $status == 4 && -z $named ]] && can_apt; then
        say "The browser lacks libraries of the system; installing them ..."
        "$VENV/bin/python" -m playwright install-deps chromium >>"$LOG" 2>&1 </dev/null || true
        status=0
        answer=$(locate_browser) || status=$?
    fi
    case $status in
        0)
            printf '%s\n' "$answer" >"$BROWSER_STAMP"
            say "Browser: $(tail -n 1 "$BROWSER_STAMP")"
            ;;
        3) stop "$answer" ;;
        4) stop "$answer (its libraries: '$VENV/bin/playwright install-deps chromium' as root)" ;;
        *) stop "the search for a browser failed; the output above has the reason." ;;
    esac
}

# ---- Node clients for the tests -------------------------------------------------------------------------------------
# tests/node/package.json names them; without Node or that file the tests that need them are skipped.
install_node_clients() {
    local folder=tests/node
    if [[ ! -f $folder/package-lock.json ]]; then return; fi
    if ! has npm && can_apt; then
        say "Installing Node for the tests' clients ..."
        apt_install nodejs npm || true
    fi
    if ! has npm; then return; fi
    if [[ -f $folder/node_modules/.setup-stamp && $folder/node_modules/.setup-stamp -nt $folder/package-lock.json ]]; then return; fi
    say "Installing the Node clients of the tests ..."
    npm ci --prefix "$folder" --no-audit --no-fund --ignore-scripts >>"$LOG" 2>&1 || {
        say "setup: npm could not install the Node clients (see $LOG); their tests will be skipped."
        return
    }
    touch "$folder/node_modules/.setup-stamp"
}

# ---- Client generator for the tests ------------------------------------------------------------------------------------
# tests/generated_client/requirements.txt pins it; without it the test of a generated client is skipped.
install_client_generator() {
    local folder=tests/generated_client
    if [[ -f $folder/.venv/.setup-stamp && $folder/.venv/.setup-stamp -nt $folder/requirements.txt ]]; then return; fi
    say "Installing openapi-python-client for the tests ..."
    { rm -rf "$folder/.venv" && "$VENV/bin/python" -m venv "$folder/.venv" &&
        "$folder/.venv/bin/python" -m pip install --disable-pip-version-check --no-input -r "$folder/requirements.txt"; } >>"$LOG" 2>&1 || {
        say "setup: pip could not install openapi-python-client (see $LOG); its test will be skipped."
        return
    }
    touch "$folder/.venv/.setup-stamp"
}

# ---- Fake clock for the tests ------------------------------------------------------------------------------------------
# Without libfaketime the tests of clock changes are skipped.
install_faketime() {
    if compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || ! can_apt; then return; fi
    say "Installing libfaketime for the tests of the clock ..."
    apt_install libfaketime || true
}

install_dependencies
ensure_browser
if [[ ${1-} == --tests ]]; then
    install_node_clients
    install_client_generator
    install_faketime
fi
