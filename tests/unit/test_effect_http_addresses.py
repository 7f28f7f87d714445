"""Which addresses an HTTP target may have."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from onex_mesh.effect.core.kinds.http_addresses import AddressRules, literal

PUBLIC = AddressRules()
PRIVATE = AddressRules(private=True)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "shared"),
        ("100.127.255.255", "shared"),
        ("198.18.0.1", "benchmarking"),
        ("::1", "loopback"),
        ("fd00::1", "private"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:10.0.0.1", "private"),
        ("::ffff:0:192.168.1.1", "private"),
        ("64:ff9b::10.0.0.1", "private"),
        ("2002:7f00:1::1", "loopback"),
        ("2002:c0a8:101::", "private"),
    ],
)
def test_private_addresses_need_the_allowance(text: str, kind: str) -> None:
    """R7: also where they hide in a mapped, translated, NAT64 or 6to4 address."""
    assert PUBLIC.problem(ip_address(text)) == kind
    assert PRIVATE.problem(ip_address(text)) == ""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("169.254.169.254", "link local"),
        ("::ffff:169.254.169.254", "link local"),
        ("64:ff9b::a9fe:a9fe", "link local"),
        ("fe80::1", "link local"),
        ("192.0.0.8", "special purpose"),
        ("192.88.99.1", "special purpose"),
        ("192.0.2.1", "documentation"),
        ("2001:db8::1", "documentation"),
        ("2001::1", "special purpose"),
        ("64:ff9b:1::1", "special purpose"),
        ("::7f00:1", "not global unicast"),
        ("5f00::1", "not global unicast"),
    ],
)
def test_others_need_to_be_listed(text: str, kind: str) -> None:
    """R7: `allow_private: true` does not open the addresses where clouds keep credentials; a list does."""
    assert PUBLIC.problem(ip_address(text)) == PRIVATE.problem(ip_address(text)) == kind
    listed = AddressRules(networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))
    assert listed.problem(ip_address(text)) == ""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0.0.0.1", "unspecified"),
        ("::", "unspecified"),
        ("::ffff:0.0.0.0", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
    ],
)
def test_nobody_s_addresses_are_never_reached(text: str, kind: str) -> None:
    """R7: whatever the operator says."""
    everything = AddressRules(private=True, networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))
    assert everything.problem(ip_address(text)) == kind


@pytest.mark.parametrize(
    "text",
    ["1.1.1.1", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2002:0101:0101::1", "::ffff:1.1.1.1"],
)
def test_public_addresses_are_reached(text: str) -> None:
    """R7: the neighbours of the private ranges among them."""
    assert PUBLIC.problem(ip_address(text)) == ""


def test_a_list_opens_its_networks_only() -> None:
    """R7: an IPv4 network covers addresses that carry one of its own."""
    rules = AddressRules(networks=(ip_network("10.1.0.0/16"),))
    assert rules.problem(ip_address("10.1.2.3")) == rules.problem(ip_address("::ffff:10.1.2.3")) == ""
    assert rules.problem(ip_address("10.2.2.3")) == "private"
    assert rules.problem(ip_address("127.0.0.1")) == "loopback"


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.", "127.0.1", "1.2.3.4.5", "256.1.1.1"],
)
def test_addresses_in_disguise_are_no_hosts(host: str) -> None:
    """R7: decimal, octal, hexadecimal and shortened addresses are refused, not interpreted."""
    with pytest.raises(ValueError, match="not written as four decimal numbers"):
        literal(host)


def test_what_a_host_is_written_as() -> None:
    """R7: a name, or an address in its plain form."""
    assert literal("api.example") is None
    assert literal("7.example") is None
    assert literal("x0") is None
    assert literal("192.168.0.1") == ip_address("192.168.0.1")
    assert literal("::1") == ip_address("::1")
    with pytest.raises(ValueError, match="has a zone"):
        literal("fe80::1%eth0")
