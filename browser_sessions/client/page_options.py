"""The options of screenshots and PDFs as typed keyword arguments, and their queries. The names are Playwright's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from browser_sessions.client.errors import InvalidArgument
from browser_sessions.client.paths import Query

ImageFormat = Literal["png", "jpeg", "webp"]
PaperFormat = Literal["Letter", "Legal", "Tabloid", "Ledger", "A0", "A1", "A2", "A3", "A4", "A5", "A6"]


class ScreenshotOptions(TypedDict, total=False):
    """Options of a screenshot, all of them optional:

    format: "png", "jpeg" or "webp"
    quality: 1 to 100, of jpeg and webp
    full_page: the whole page, not just what the viewport shows
    clip: (x, y, width, height) in CSS pixels of the viewport; with full_page, of the page
    selector: the first element that matches, as of Playwright's locators
    omit_background: transparent where the page has no background; not for jpeg
    """

    format: ImageFormat
    quality: int | None
    full_page: bool
    clip: Sequence[float] | None
    selector: str | None
    omit_background: bool


class PdfOptions(TypedDict, total=False):
    """Options of a PDF, all of them optional; lengths are such as "2cm", or CSS pixels without a unit:

    format: of the paper, such as "A4"; "Letter" without width and height
    width, height: of the paper
    landscape: False
    scale: 0.1 to 2
    margin_top, margin_right, margin_bottom, margin_left: none by default
    page_ranges: such as "1-5, 8"
    print_background: False
    prefer_css_page_size: the page's own `@page` size takes precedence
    display_header_footer, header_template, footer_template: HTML
    outline, tagged: False
    """

    format: PaperFormat | None
    width: str | None
    height: str | None
    landscape: bool
    scale: float
    margin_top: str | None
    margin_right: str | None
    margin_bottom: str | None
    margin_left: str | None
    page_ranges: str | None
    print_background: bool
    prefer_css_page_size: bool
    display_header_footer: bool
    header_template: str | None
    footer_template: str | None
    outline: bool
    tagged: bool


def screenshot_query(options: ScreenshotOptions) -> Query:
    """Raises `InvalidArgument`."""
    values: dict[str, Any] = {**options}
    if (clip := values.get("clip")) is not None:
        if isinstance(clip, str) or not isinstance(clip, Sequence) or len(clip) != 4:
            raise InvalidArgument(f"clip must be (x, y, width, height), not {clip!r:.80}.")
        values["clip"] = ",".join(map(str, clip))
    return _given(values)


def pdf_query(options: PdfOptions) -> Query:
    return _given(options)


def _given(options: Mapping[str, Any]) -> Query:
    return {name: value for name, value in options.items() if value is not None}
