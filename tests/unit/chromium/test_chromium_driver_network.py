"""The filter of network events for Playwright's driver."""

from __future__ import annotations

import pytest

from browser_sessions.chromium.driver.driver_network import DISABLE, ENABLE, DriverNetwork

REQUEST = b'{"method":"Network.requestWillBeSent","params":{"requestId":"%s","loaderId":"L1"}}'
RESPONSE = b'{"method":"Network.responseReceived","params":{"requestId":"%s","loaderId":"L1","frameId":"%s"}}'


@pytest.fixture
def posted() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def network(posted: list[tuple[str, str]]) -> DriverNetwork:
    """A page with a cross-site frame and another page, with the network domain enabled by Playwright in all of them."""
    network = DriverNetwork(lambda method, session_id: posted.append((method, session_id)))
    network.attached("page", None, "PAGE")
    network.attached("frame", "page", "FRAME")
    network.attached("other", None, "OTHER")
    for session_id in ("page", "frame", "other"):
        assert not network.forwards_command(ENABLE, session_id)
    return network


def test_commands_of_other_domains_are_forwarded(network: DriverNetwork, posted: list[tuple[str, str]]) -> None:
    assert network.forwards_command("Page.enable", "page")
    assert posted == []


def test_events_of_a_navigation_are_forwarded_until_its_document_responds(
    network: DriverNetwork, posted: list[tuple[str, str]]
) -> None:
    with network.navigation("PAGE", everything=False):
        assert posted == [(ENABLE, "page"), (ENABLE, "frame")]
        assert network.forwards_event(REQUEST % b"L1", "page")
        assert not network.forwards_event(REQUEST % b"R7", "page")
        assert network.forwards_event(RESPONSE % (b"L1", b"FRAME"), "page"), (
            "the response belongs to a frame in the page"
        )
        assert posted[2:] == []
        assert network.forwards_event(RESPONSE % (b"L1", b"PAGE"), "page")
        assert posted[2:] == [(DISABLE, "page")]
    assert posted[3:] == [(DISABLE, "frame")]


def test_the_domain_is_disabled_after_a_failed_navigation(
    network: DriverNetwork, posted: list[tuple[str, str]]
) -> None:
    with pytest.raises(ValueError, match="why"), network.navigation("PAGE", everything=False):
        raise ValueError("why")
    assert posted[2:] == [(DISABLE, "page"), (DISABLE, "frame")]


def test_a_navigation_until_network_idle_gets_all_events(network: DriverNetwork, posted: list[tuple[str, str]]) -> None:
    with network.navigation("PAGE", everything=True), network.navigation("PAGE", everything=False):
        assert network.forwards_event(REQUEST % b"R7", "page")
        assert network.forwards_event(RESPONSE % (b"L1", b"PAGE"), "page")
        network.attached("worker", "frame", "WORKER")
        assert network.forwards_command(ENABLE, "worker"), "targets attached during the navigation get all events"
        assert posted == [(ENABLE, "page"), (ENABLE, "frame")]
    assert posted[2:] == [(DISABLE, "page"), (DISABLE, "frame"), (DISABLE, "worker")]


@pytest.mark.parametrize("method", ["Network.setExtraHTTPHeaders", "Fetch.enable"])
def test_a_command_that_needs_the_domain_enables_it_permanently(
    network: DriverNetwork, posted: list[tuple[str, str]], method: str
) -> None:
    assert network.forwards_command(method, "page")
    assert posted == [(ENABLE, "page")]
    with network.navigation("PAGE", everything=False):
        assert network.forwards_event(REQUEST % b"R7", "page")
    assert (DISABLE, "page") not in posted
    assert network.forwards_command("Network.setCacheDisabled", "page")
    assert posted.count((ENABLE, "page")) == 1


def test_no_command_is_sent_to_a_detached_session(network: DriverNetwork, posted: list[tuple[str, str]]) -> None:
    network.detached("frame")
    with network.navigation("PAGE", everything=False):
        network.detached("page")
    assert posted == [(ENABLE, "page")]
