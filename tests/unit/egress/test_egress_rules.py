"""Which destinations the rules allow, by the address that results and never by its spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browser_sessions.egress.addresses import DENIED, Machine, canonical, meanings
from browser_sessions.egress.rules import EgressPolicy, Refused, Rule, Rules

MACHINE = Machine(frozenset({canonical("8.8.4.4"), canonical("2606:4700::9")}), {8700, 41234})
DEFAULTS = EgressPolicy.of_server()


def policy(*allow: str, deny: tuple[str, ...] = ()) -> EgressPolicy:
    return EgressPolicy.of_server(Rules.parse(allow), Rules.parse(deny))


def refusal(of: EgressPolicy, address: str, port: int = 80, host: str = "shop.example") -> Refused | None:
    return of.refusal_of_host(host, port) or of.refusal(host, canonical(address), port, MACHINE)


@pytest.mark.parametrize("network", DENIED, ids=str)
def test_each_network_of_the_list_is_denied_from_its_first_to_its_last_address(network: object) -> None:
    for address in (network[0], network[-1]):  # type: ignore[index] # IPv4Network and IPv6Network
        refused = refusal(DEFAULTS, str(address))
        assert refused is not None
        assert refused.setting == "BROWSER_SESSIONS_EGRESS_ALLOW"


@pytest.mark.parametrize(
    "address",
    [
        "::ffff:127.0.0.1",  # IPv4-mapped
        "::ffff:a9fe:a9fe",
        "::7f00:1",  # IPv4-compatible
        "::ffff:0:127.0.0.1",  # SIIT
        "64:ff9b::a00:1",  # NAT64
        "64:ff9b:1::808:808",  # NAT64 of the local network
        "2002:7f00:1::",  # 6to4
        "2001:0:a00:1::f7f7:f7f7",  # Teredo: a private server
        "2001:0:808:808::f5ff:fffe",  # Teredo: a private client, inverted
        "2606:4700::5efe:10.0.0.1",  # ISATAP
        "fe80::1%eth0",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "255.255.255.255",
        "8.8.4.4",  # this machine's own
        "2606:4700::9",
        "::ffff:8.8.4.4",
        "64:ff9b::808:404",
    ],
)
def test_what_leads_to_a_denied_address_is_denied(address: str) -> None:
    assert refusal(DEFAULTS, address) is not None


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "::ffff:8.8.8.8", "2606:4700::1", "64:ff9b::808:808", "2002:808:808::1", "128.0.0.1"],
)
def test_what_is_public_is_allowed(address: str) -> None:
    assert refusal(DEFAULTS, address) is None


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_every_ipv6_form(address: object) -> None:
    packed = canonical(str(address)).packed.hex()
    denied = refusal(DEFAULTS, str(address)) is not None
    high, low = packed[:4], packed[4:]
    assert (refusal(DEFAULTS, f"::ffff:{high}:{low}") is not None) == denied
    if packed != "00000000":
        assert (refusal(DEFAULTS, f"64:ff9b::{high}:{low}") is not None) == denied
        assert (refusal(DEFAULTS, f"2002:{high}:{low}::1") is not None) == denied


@given(st.ip_addresses(v=6))
def test_every_address_has_meanings_and_is_one_of_them(address: object) -> None:
    assert canonical(str(address)) in meanings(canonical(str(address)))


def test_one_allowed_address_opens_no_other() -> None:
    allowed = policy("127.0.0.1:8080")
    assert refusal(allowed, "127.0.0.1", 8080) is None
    assert refusal(allowed, "::ffff:127.0.0.1", 8080) is None
    for address, port in (("127.0.0.1", 8081), ("127.0.0.2", 8080), ("::1", 8080), ("10.0.0.1", 8080)):
        assert refusal(allowed, address, port) is not None
    assert refusal(allowed, "8.8.8.8", 443) is None  # the server's list has exceptions, it is no list of all


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "0.0.0.0", "::1", "::", "8.8.4.4", "::ffff:127.0.0.1"])  # noqa: S104
@pytest.mark.parametrize("of", [policy("*"), policy("127.0.0.0/8", "shop.example", "8.8.4.4", "::/0", "0.0.0.0/0")])
@pytest.mark.parametrize("port", [8700, 41234])
def test_nothing_opens_the_services_own_ports(address: str, of: EgressPolicy, port: int) -> None:
    assert refusal(of, address, port) == Refused("the service's own ports", None)
    assert refusal(of, address, port + 1) is None


def test_an_allowed_name_may_lead_anywhere() -> None:
    allowed = policy("*.corp.example")
    assert refusal(allowed, "10.0.0.1", host="wiki.corp.example") is None
    assert refusal(allowed, "10.0.0.1", host="corp.example") is not None
    assert refusal(allowed, "10.0.0.1", host="wiki.corp.example.evil.example") is not None
    assert refusal(allowed, "10.0.0.1", host="evilcorp.example") is not None


def test_deny_wins_over_allow_but_for_the_star() -> None:
    of = policy("10.0.0.0/8", "shop.example", deny=("10.1.0.0/16", "bad.shop.example", "*.ads.example"))
    assert refusal(of, "10.2.0.1") is None
    assert refusal(of, "10.1.0.1", host="other.example") == Refused("10.1.0.0/16", "BROWSER_SESSIONS_EGRESS_DENY")
    assert refusal(of, "64:ff9b::a01:1", host="other.example") is not None
    assert refusal(of, "8.8.8.8", host="x.ads.example") == Refused("*.ads.example", "BROWSER_SESSIONS_EGRESS_DENY")
    only = policy("shop.example", "8.8.8.0/24:443", deny=("*",))
    assert refusal(only, "1.1.1.1") is None
    assert refusal(only, "8.8.8.8", 443, host="other.example") is None
    assert refusal(only, "8.8.8.8", 80, host="other.example") == Refused(
        "everything else is denied", "BROWSER_SESSIONS_EGRESS_ALLOW"
    )


def test_a_level_only_narrows_the_one_above() -> None:
    key = DEFAULTS.with_narrower(Rules.parse(["*.shop.example", "127.0.0.1"]), Rules(), level="key")
    assert refusal(key, "8.8.8.8", host="a.shop.example") is None
    assert refusal(key, "127.0.0.1", host="a.shop.example") is not None  # the server's defaults still hold
    assert refusal(key, "127.0.0.1", host="127.0.0.1") is not None
    assert refusal(key, "8.8.8.8", host="other.example") == Refused(
        "everything else is denied", "egress.allow of the key"
    )
    session = key.with_narrower(Rules.parse(["other.example", "a.shop.example:443"]), Rules(), level="session")
    assert refusal(session, "8.8.8.8", host="other.example") is not None
    assert refusal(session, "8.8.8.8", 443, host="a.shop.example") is None
    refused = refusal(session, "8.8.8.8", 80, host="a.shop.example")
    assert refused == Refused("everything else is denied", "egress.allow of the session")
    closed = session.with_narrower(Rules(), Rules.parse(["a.shop.example"]), level="session")
    assert refusal(closed, "8.8.8.8", 443, host="a.shop.example") == Refused(
        "a.shop.example", "egress.deny of the session"
    )


def test_a_name_that_no_network_can_save_is_refused_before_it_is_resolved() -> None:
    names = DEFAULTS.with_narrower(Rules.parse(["shop.example"]), Rules(), level="key")
    networks = DEFAULTS.with_narrower(Rules.parse(["8.8.8.0/24"]), Rules(), level="key")
    assert names.refusal_of_host("other.example", 80) is not None
    assert networks.refusal_of_host("other.example", 80) is None
    assert refusal(networks, "8.8.8.8", host="other.example") is None
    assert refusal(networks, "8.8.4.8", host="other.example") is not None


def test_the_upstream_need_not_be_in_the_sessions_own_rules() -> None:
    of = DEFAULTS.with_narrower(Rules.parse(["shop.example"]), Rules(), level="session")
    assert refusal(of, "8.8.8.8", host="proxy.example") is not None
    assert refusal(of.for_upstream(), "8.8.8.8", host="proxy.example") is None
    assert refusal(of.for_upstream(), "127.0.0.1", host="proxy.example") is not None


def test_without_defaults_the_own_ports_stay_closed() -> None:
    off = EgressPolicy.of_server(defaults=False)
    assert refusal(off, "127.0.0.1", 8080) is None
    assert refusal(off, "127.0.0.1", 8700) is not None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Shop.Example", "shop.example"),
        ("shop.example.:443", "shop.example:443"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("10.1.0.0/16", "10.1.0.0/16"),
        ("10.1.2.3:80", "10.1.2.3:80"),
        ("0x7f.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]:80", "[::1]:80"),
        ("[fd00::/8]:443", "[fd00::/8]:443"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("*", "*"),
    ],
)
def test_a_rule_in_its_forms(text: str, meant: str) -> None:
    assert str(Rule.parse(text)) == meant
    assert Rule.parse(meant) == Rule.parse(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("shop.example:99999", "1 to 65535"),
        ("http://shop.example", "shop.example"),
        ("shop.example/path", "shop.example"),
        ("sh*p.example", "*.shop.example"),
        ("*.*", "*.shop.example"),
        ("", "shop.example"),
        ("a b", "shop.example"),
        ("10.0.0.0/33", "10.1.0.0/16"),
    ],
)
def test_what_is_no_rule_is_named_with_what_would_be_right(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=r"must be|did you mean|ports are") as caught:
        Rules.parse(["shop.example", text])
    assert repr(text) in str(caught.value)
    assert hint in str(caught.value)
