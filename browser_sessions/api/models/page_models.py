"""The pages of a session, and what can be done with them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from browser_sessions.api.models.model_parts import REQUEST, Address, Printable


class PageResponse(BaseModel):
    page_id: str
    url: str
    title: str
    created_at: datetime
    crashed: bool


class PageList(BaseModel):
    pages: list[PageResponse]


class OpenPageBody(BaseModel):
    model_config = REQUEST

    url: Address | None = None


class NavigateBody(BaseModel):
    model_config = REQUEST

    url: Address
    wait_until: Literal["commit", "domcontentloaded", "load", "networkidle"] = "load"
    timeout_seconds: float = Field(30.0, gt=0, le=300, allow_inf_nan=False)


class NavigationResponse(BaseModel):
    page_id: str
    url: str
    title: str
    http_status: int | None
    download_id: str | None = Field(None, description="Of the file if the URL is one; the page stays where it was")


class EvaluateBody(BaseModel):
    model_config = REQUEST

    expression: str = Field(min_length=1, max_length=1_000_000)
    timeout_seconds: float = Field(30.0, gt=0, le=300, allow_inf_nan=False)


class EvaluateResponse(BaseModel):
    result: Any


class ScreenshotQuery(BaseModel):
    """How to take a screenshot, with Playwright's names."""

    model_config = ConfigDict(frozen=True)

    format: Literal["png", "jpeg", "webp"] = "png"
    quality: int | None = Field(None, ge=1, le=100, description="Of jpeg and webp")
    full_page: bool = Field(False, description="The whole page, not just what the viewport shows")
    clip: Annotated[str, Field(pattern=r"^\d{1,5}(\.\d+)?(,\d{1,5}(\.\d+)?){3}$", max_length=60)] | None = Field(
        None, description="`x,y,width,height` in CSS pixels of the viewport; with `full_page`, of the page"
    )
    selector: Printable | None = Field(
        None, min_length=1, max_length=2000, description="The first element that matches, as of Playwright's locators"
    )
    omit_background: bool = Field(False, description="Transparent where the page has no background; not for jpeg")


Length = Annotated[str, Field(pattern=r"^\d{1,4}(\.\d{1,4})?(px|in|cm|mm)?$", examples=["2cm"])]
"""CSS pixels without a unit."""


class PdfQuery(BaseModel):
    """How to print a page, with Playwright's names."""

    model_config = ConfigDict(frozen=True)

    format: Literal["Letter", "Legal", "Tabloid", "Ledger", "A0", "A1", "A2", "A3", "A4", "A5", "A6"] | None = Field(
        None, description="Of the paper; Letter without width and height"
    )
    width: Length | None = None
    height: Length | None = None
    landscape: bool = False
    scale: float = Field(1.0, ge=0.1, le=2)
    margin_top: Length | None = None
    margin_right: Length | None = None
    margin_bottom: Length | None = None
    margin_left: Length | None = None
    page_ranges: str | None = Field(None, max_length=200, pattern=r"^[\d,\- ]+$", examples=["1-5, 8"])
    print_background: bool = False
    prefer_css_page_size: bool = Field(False, description="The page's own `@page` size takes precedence")
    display_header_footer: bool = False
    header_template: str | None = Field(None, max_length=10_000, description="HTML; see Playwright's `page.pdf`")
    footer_template: str | None = Field(None, max_length=10_000)
    outline: bool = False
    tagged: bool = False


class PageContent(BaseModel):
    url: str
    title: str
    content: str
