"""Finding references to other files in the DevTools front end's files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.chromium.devtools.crawl import named


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("inspector.html", '<script type="module" src="./a/b.js"></script>', {"a/b.js"}),
        ("inspector.html", "<link href='./tokens.css' rel=stylesheet>", {"tokens.css"}),
        ("a/b/c.js", 'import*as x from"../../core/sdk/sdk.js";', {"core/sdk/sdk.js"}),
        ("a/b/c.js", "let m=await import('./panel.js')", {"a/b/panel.js"}),
        ("a/b/c.js", 'new URL("../../Images/x.svg",import.meta.url)', {"Images/x.svg"}),
        ("a/b.css", "background:url(../Images/x.avif)", {"Images/x.avif"}),
        ("a/b.js", 'let page="frame.html"', {"a/frame.html", "frame.html"}),
        ("a/b.js", 'import"../../../etc/x.js";import"/etc/y.js";import"https://z.test/z.js"', set()),
        ("a/b.js", "//# sourceMappingURL=b.js.map", set()),
    ],
)
def test_references_are_found(path: str, body: str, found: set[str]) -> None:
    assert named(path, body.encode()) == found


@given(st.text(alphabet="./\\a\"'`()js", max_size=30), st.sampled_from(["a.js", "a/b.js", "a/b/c.js"]))
def test_references_stay_inside_the_folder(text: str, path: str) -> None:
    for each in named(path, f'"{text}.js"'.encode()):
        assert not each.startswith("/")
        assert ".." not in each.split("/")
