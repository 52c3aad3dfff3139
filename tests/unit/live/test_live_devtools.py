"""Which files of Chromium's DevTools are served."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.chromium.devtools.front_end import SHIM, media_type, with_shim
from browser_sessions.domain.errors import NotFound


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("inspector.html", "text/html; charset=utf-8"),
        ("entrypoints/inspector/inspector.js", "text/javascript; charset=utf-8"),
        ("Images/large_icons.svg", "image/svg+xml"),
        ("core/i18n/locales/en-US.json", "application/json"),
        (SHIM, "text/javascript; charset=utf-8"),
    ],
)
def test_files_of_the_front_end(path: str, kind: str) -> None:
    assert media_type(path) == kind


@pytest.mark.parametrize(
    "path",
    [
        "",
        "inspector",
        "browser/0123",
        "page/ABC",
        "../json/version.json",
        "a/../../json/list.json",
        "..%2fjson/new.html",
        "a//b.js",
        "/etc/passwd.js",
        "a\\..\\b.js",
        ".hidden.js",
        "a.js\n",
        "a.js?x=y.js",
        "a.js#b.js",
        "a b.js",
        "x.exe",
        "@127.0.0.1/a.js",
        "a:80/b.js",
        "/".join("abcdefghi") + ".js",
    ],
)
def test_other_paths_are_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        media_type(path)


@given(st.text(max_size=40))
def test_paths_stay_inside_the_folder(path: str) -> None:
    try:
        media_type(path)
    except NotFound:
        return
    assert ".." not in path.split("/")
    assert path.isascii()
    assert not set(path) & set("%?#\\:@ \r\n\t")


def test_the_shim_is_the_first_script() -> None:
    page = b'<!doctype html><meta charset="utf-8"><script type="module" src="./a.js"></script>'
    made = with_shim(page)
    assert made.index(SHIM.encode()) < made.index(b"./a.js")
    assert made.startswith(b"<!doctype html>")
