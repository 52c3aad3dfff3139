"""Uploads of a session: names, quota, and what is on disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.chromium.launch.folders import make_session
from browser_sessions.chromium.launch.user import BrowserUser
from browser_sessions.chromium.uploads.session_uploads import AT_ONCE, Uploads
from browser_sessions.domain.errors import BrowserGone, BrowserSessionsError, Conflict, UploadNotFound, UploadTooLarge
from browser_sessions.domain.uploads import Ledger, name_problem
from tests.harness.waiting import until

GOOD = ["a", "report.pdf", "Grüße 日本.txt", "...", " ", "docs/a.txt", "docs/2026/a.txt", "x" * 255, "a'b\"c%2f?*:|<>"]
HOSTILE = [
    *("", ".", "..", "/", "/etc/passwd", "../a", "a/../b", "a/..", "./a", "a/./b", "a//b", "a/", "//a"),
    *("..\\a", "a\\b", "C:\\a", "a\0", "a\0/../b", "a\nb", "a\r", "\x1b[31m", "a\x7f", "a\x85", "a\u2028b"),
    *("\u202egpj.exe", "a\u2066b", "\ud800", "x" * 256, "日" * 86, "/".join(["d" * 200] * 6)),
]


@pytest.mark.parametrize("name", GOOD)
def test_ordinary_names_are_accepted(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_hostile_names_are_refused(name: str) -> None:
    assert name_problem(name) is not None


@given(st.text(max_size=40) | st.text(alphabet="./\\a\0", max_size=10))
def test_an_accepted_name_stays_in_its_folder(name: str) -> None:
    if name_problem(name) is None:
        assert os.path.normpath(f"/base/{name}") == f"/base/{name}"


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for each in content:
        yield each


def uploads(session: Path, *, limit: int = 100, user: BrowserUser | None = None) -> Uploads:
    make_session(session, user)
    return Uploads(session / "uploads", user, limit, lambda _event: None)


def on_disk(session: Path) -> list[str]:
    folder = session / "uploads"
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


async def test_a_file_is_saved_under_its_name(tmp_path: Path) -> None:
    mine = uploads(tmp_path)
    one = await mine.add("a.txt", 5, pieces(b"he", b"", b"llo"))
    other = await mine.add("a.txt", None, pieces())
    assert (one.name, one.size, other.size) == ("a.txt", 5, 0)
    assert Path(one.path).name == "a.txt"
    assert Path(one.path).read_bytes() == b"hello"
    assert Path(other.path).read_bytes() == b""
    assert mine.all() == [one, other]
    assert one.path in mine.paths
    await mine.remove(one.upload_id)
    assert one.path not in mine.paths
    assert on_disk(tmp_path) == [other.upload_id, f"{other.upload_id}/a.txt"]
    with pytest.raises(UploadNotFound):
        await mine.remove(one.upload_id)


async def test_files_of_a_folder_share_its_path(tmp_path: Path) -> None:
    mine = uploads(tmp_path)
    names = ("docs/a.txt", "docs/old/b.txt")
    one, other = [await mine.add(name, None, pieces(name.encode())) for name in names]
    assert (one.name, other.name) == names
    assert one.path == other.path
    assert one.path.endswith("/docs/")
    for name in names:
        assert Path(one.path, "..", name).resolve().read_text() == name
    with pytest.raises(Conflict, match="name"):
        await mine.add("docs/a.txt", None, pieces(b"again"))
    with pytest.raises(Conflict, match="name"):
        await mine.add("docs/a.txt/c", None, pieces(b"a file is no folder"))
    with pytest.raises(Conflict, match="name"):
        await mine.add("docs/old", None, pieces(b"a folder is no file"))
    await mine.remove(one.upload_id)
    assert other.path in mine.paths
    await mine.remove(other.upload_id)
    assert other.path not in mine.paths
    assert on_disk(tmp_path) == []
    later = await mine.add("docs/c.txt", None, pieces(b"c"))
    assert later.path != one.path
    assert [each.name for each in Path(later.path).iterdir()] == ["c.txt"]


async def test_the_quota_counts_bytes_and_a_refused_file_leaves_nothing(tmp_path: Path) -> None:
    mine = uploads(tmp_path)
    one = await mine.add("a", None, pieces(b"x" * 60))
    for announced in (41, None, 1):
        with pytest.raises(UploadTooLarge, match="40 are left"):
            await mine.add("b", announced, pieces(b"x" * 20, b"x" * 21))
    exact = await mine.add("b", 40, pieces(b"x" * 40))
    await mine.remove(exact.upload_id)
    await mine.remove(one.upload_id)
    await mine.add("c", 100, pieces(b"x" * 100))
    assert [name for name in on_disk(tmp_path) if "/" in name] == [f"{mine.all()[0].upload_id}/c"]


async def test_uploads_beyond_those_at_once_wait_without_being_read(tmp_path: Path) -> None:
    mine, begun, go = uploads(tmp_path), [], asyncio.Event()

    async def content(number: int) -> AsyncIterator[bytes]:
        begun.append(number)
        await go.wait()
        yield b"x"

    adding = [asyncio.create_task(mine.add(f"{n}", None, content(n))) for n in range(AT_ONCE + 3)]
    await until(lambda: len(begun) == AT_ONCE)
    go.set()
    await asyncio.gather(*adding)
    assert set(begun[:AT_ONCE]) == set(range(AT_ONCE)), "in turn; those that are let in together have no order"
    assert set(begun) == set(range(AT_ONCE + 3))


def test_the_number_of_files_is_limited() -> None:
    ledger = Ledger(100, limit_files=2)
    slot = ledger.begin("a", None)
    ledger.complete(ledger.begin("b", None), "/b")
    with pytest.raises(Conflict, match="2 uploads"):
        ledger.begin("c", None)
    ledger.abandon(slot)
    ledger.begin("c", None)


async def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    mine = uploads(tmp_path)

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 50
        raise OSError("the client has left")

    with pytest.raises(BrowserSessionsError):
        await mine.add("docs/a", None, broken())
    assert on_disk(tmp_path) == []
    await mine.add("docs/a", 100, pieces(b"x" * 100))


async def test_a_session_that_has_ended_takes_no_more(tmp_path: Path) -> None:
    mine = uploads(tmp_path / "session")

    async def ending() -> AsyncIterator[bytes]:
        yield b"x"
        mine.close()
        yield b"y"

    with pytest.raises(BrowserGone):
        await mine.add("a", None, ending())
    gone = uploads(tmp_path / "gone")
    (tmp_path / "gone" / "downloads").rmdir()
    (tmp_path / "gone").rmdir()
    with pytest.raises(BrowserGone):
        await gone.add("a", None, pieces(b"x"))
    assert not (tmp_path / "gone").exists()


async def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    mine, target = uploads(tmp_path / "session"), tmp_path / "target"
    first = await mine.add("docs/a", None, pieces(b"a"))
    Path(first.path, "link").symlink_to(target)
    await mine.add("docs/link", None, pieces(b"b"))
    assert not target.exists()
    assert not Path(first.path, "link").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="as root only, Chromium is another user")
async def test_the_browser_user_reads_but_does_not_write(tmp_path: Path) -> None:
    user = BrowserUser(65534, 65534, "nobody")
    mine = uploads(tmp_path / "session", user=user)
    found = await mine.add("docs/old/a", None, pieces(b"a"))
    session = tmp_path / "session"
    modes = {
        str(each.relative_to(session)): (each.stat().st_uid, each.stat().st_gid, oct(each.stat().st_mode & 0o777))
        for each in (session, *session.rglob("*"))
    }
    top = f"uploads/{found.upload_id}"
    assert modes == {
        ".": (0, 0, "0o711"),
        "downloads": (65534, 65534, "0o700"),
        **dict.fromkeys(("uploads", top, f"{top}/docs", f"{top}/docs/old"), (0, 65534, "0o750")),
        f"{top}/docs/old/a": (0, 65534, "0o640"),
    }
