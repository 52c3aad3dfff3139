"""goto, evaluate, content, screenshot, pdf; pages ls, open, close."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final, get_args

import typer

from browser_sessions.cli.command_group import new_app
from browser_sessions.cli.file_output import Output, destination, write
from browser_sessions.cli.output import show, show_json, show_text
from browser_sessions.cli.service_command import Connection, service_command
from browser_sessions.cli.sessions.page_arguments import Page, PageId, page_of
from browser_sessions.cli.sessions.session_arguments import SessionId, whole_id
from browser_sessions.cli.tables import facts, pages_table
from browser_sessions.client.page_options import ImageFormat, PaperFormat
from browser_sessions.client.session_options import WaitUntil

pages = new_app(help="List, open and close the pages of a session.")

_BY_ENDING: Final[dict[str, ImageFormat]] = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
Timeout = Annotated[float, typer.Option(min=0.001, max=600, metavar="SECONDS", help="How long it may take.")]


@service_command
async def goto(
    connection: Connection,
    session: SessionId,
    address: Annotated[str, typer.Argument(metavar="URL")],
    page: Page = None,
    wait_until: Annotated[
        WaitUntil, typer.Option(metavar="|".join(get_args(WaitUntil)), help="When the page counts as loaded.")
    ] = "load",
    timeout: Timeout = 30.0,
) -> None:
    """Navigate a page, and wait until it has loaded."""
    client = connection.client
    session_id = await whole_id(client, session)
    page_id = await page_of(client, session_id, page, may_open=True)
    found = await client.navigate(session_id, page_id, address, wait_until=wait_until, timeout_seconds=timeout)
    if connection.as_json:
        show_json(found.model_dump(mode="json"))
        return
    rows = [("page", found.page_id), ("url", found.url), ("title", found.title), ("http status", found.http_status)]
    rows.append(("download", found.download_id))
    show(facts((name, value) for name, value in rows if value is not None))


@service_command
async def evaluate(
    connection: Connection,
    session: SessionId,
    expression: Annotated[str, typer.Argument(metavar="EXPRESSION|-", help="JavaScript; - reads standard input.")],
    page: Page = None,
    timeout: Timeout = 30.0,
) -> None:
    """Evaluate JavaScript in a page and print its value.

    Text is printed as it is, anything else as JSON.
    """
    client = connection.client
    session_id = await whole_id(client, session)
    script = sys.stdin.read() if expression == "-" else expression
    found = await client.evaluate(session_id, await page_of(client, session_id, page), script, timeout_seconds=timeout)
    if connection.as_json:
        show_json(found)
    else:
        show_text(found if isinstance(found, str) else _readable(found))


def _readable(value: Any) -> str:
    """JSON with its characters as they are, if the output has them all."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:  # a lone surrogate, or another encoding than UTF-8
        return json.dumps(value, indent=2)
    return text


@service_command
async def content(connection: Connection, session: SessionId, page: Page = None, output: Output = None) -> None:
    """Print a page's current HTML, or write it to a file.

    With --json and without a file, its URL and title too.
    """
    client = connection.client
    session_id = await whole_id(client, session)
    found = await client.content(session_id, await page_of(client, session_id, page))
    if output is not None:
        write(found.content.encode(), output, as_json=connection.as_json)
    elif connection.as_json:
        show_json(found.model_dump(mode="json"))
    else:
        show_text(found.content)


@service_command
async def screenshot(
    connection: Connection,
    session: SessionId,
    page: Page = None,
    output: Output = None,
    image_format: Annotated[
        ImageFormat | None,
        typer.Option("--format", metavar="png|jpeg|webp", help="Default: by the file's name, else png."),
    ] = None,
    quality: Annotated[int | None, typer.Option(min=1, max=100, help="Of a jpeg or webp.")] = None,
    full_page: Annotated[bool, typer.Option("--full-page", help="The whole page, not just the viewport.")] = False,
    clip: Annotated[str | None, typer.Option(metavar="X,Y,WIDTH,HEIGHT", help="A part, in CSS pixels.")] = None,
    selector: Annotated[str | None, typer.Option(metavar="SELECTOR", help="The first element that matches.")] = None,
    omit_background: Annotated[
        bool, typer.Option("--omit-background", help="Transparent where the page has no background.")
    ] = False,
) -> None:
    """Take a screenshot of a page."""
    target = destination(output, as_json=connection.as_json)
    if image_format is None:
        image_format = _BY_ENDING.get(Path(target).suffix.lower(), "png")
    client = connection.client
    session_id = await whole_id(client, session)
    image = await client.screenshot(
        session_id,
        await page_of(client, session_id, page),
        format=image_format,
        quality=quality,
        full_page=full_page,
        clip=None if clip is None else _four_numbers(clip),
        selector=selector,
        omit_background=omit_background,
    )
    write(image, target, as_json=connection.as_json)


@service_command
async def pdf(
    connection: Connection,
    session: SessionId,
    page: Page = None,
    output: Output = None,
    paper: Annotated[PaperFormat | None, typer.Option("--format", metavar="A4|Letter|...")] = None,
    landscape: Annotated[bool, typer.Option("--landscape")] = False,
    scale: Annotated[float, typer.Option(min=0.1, max=2)] = 1.0,
    margin: Annotated[str | None, typer.Option(metavar="LENGTH", help="On all sides, for example 1cm.")] = None,
    page_ranges: Annotated[str | None, typer.Option("--pages", metavar="RANGES", help="For example 1-3,5.")] = None,
    background: Annotated[bool, typer.Option("--background", help="With the page's background colours.")] = False,
) -> None:
    """Print a page as a PDF."""
    target = destination(output, as_json=connection.as_json)
    client = connection.client
    session_id = await whole_id(client, session)
    document = await client.pdf(
        session_id,
        await page_of(client, session_id, page),
        format=paper,
        landscape=landscape,
        scale=scale,
        margin_top=margin,
        margin_right=margin,
        margin_bottom=margin,
        margin_left=margin,
        page_ranges=page_ranges,
        print_background=background,
    )
    write(document, target, as_json=connection.as_json)


def _four_numbers(clip: str) -> list[float]:
    try:
        numbers = [float(each) for each in clip.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        raise typer.BadParameter("must be X,Y,WIDTH,HEIGHT, for example 0,0,400,300", param_hint="--clip")
    return numbers


@pages.command("ls")
@service_command
async def list_pages(connection: Connection, session: SessionId) -> None:
    """List open pages, oldest first."""
    found = await connection.client.pages(await whole_id(connection.client, session))
    if connection.as_json:
        show_json({"pages": [each.model_dump(mode="json") for each in found]})
    else:
        show(pages_table(found))


@pages.command("open")
@service_command
async def open_page(
    connection: Connection,
    session: SessionId,
    address: Annotated[str | None, typer.Argument(metavar="URL", help="Default: an empty page.")] = None,
) -> None:
    """Open a page."""
    found = await connection.client.open_page(await whole_id(connection.client, session), address)
    if connection.as_json:
        show_json(found.model_dump(mode="json"))
    else:
        show(pages_table([found]))


@pages.command("close")
@service_command
async def close_page(connection: Connection, session: SessionId, page: PageId) -> None:
    """Close a page."""
    session_id = await whole_id(connection.client, session)
    page_id = await page_of(connection.client, session_id, page)
    await connection.client.close_page(session_id, page_id)
    if connection.as_json:
        show_json({"closed": page_id})
