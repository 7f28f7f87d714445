"""Which addresses an HTTP target may turn out to have: the public ones, and those that its operator lists (R7).

The ranges are those of the IANA registries of special-purpose IPv4 and IPv6 addresses (RFC 6890). They stand here and
not in `ipaddress`, whose opinion changed between versions of Python. IPv6 addresses that carry an IPv4 address are
judged by the one that they carry, because that is where a packet ends up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(**kinds: str) -> tuple[tuple[str, Network], ...]:
    return tuple(
        (kind.replace("_", " "), ip_network(text)) for kind, texts in kinds.items() for text in texts.split(" ")
    )


# Nobody's address: not even an operator can mean it.
_NEVER = _networks(unspecified="0.0.0.0/8 ::/128", multicast="224.0.0.0/4 ff00::/8", reserved="240.0.0.0/4")
# `allow_private: true` does not cover these: link-local is where clouds answer with a machine's credentials.
_LISTED = _networks(
    link_local="169.254.0.0/16 fe80::/10 fec0::/10",
    special_purpose="192.0.0.0/24 192.88.99.0/24 2001::/23 64:ff9b:1::/48",
    documentation="192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
)
_PRIVATE = _networks(
    loopback="127.0.0.0/8 ::1/128",
    private="10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7",
    shared="100.64.0.0/10",
    benchmarking="198.18.0.0/15",
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")

_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)")


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What one target may reach.

    Attributes:
        private: Whether loopback, private, carrier-grade NAT and benchmarking addresses may be reached, too.
        networks: Networks that may be reached whatever else they are; not multicast, reserved and unspecified ones.
    """

    private: bool = False
    networks: tuple[Network, ...] = ()

    def problem(self, address: Address) -> str:
        """What kind of forbidden address it is; empty where it may be reached."""
        meant = embedded(address) or address
        for kind, network in _NEVER:
            if _within(meant, network):
                return kind
        if any(_within(candidate, network) for network in self.networks for candidate in (meant, address)):
            return ""
        for kind, network in _LISTED:
            if _within(meant, network):
                return kind
        for kind, network in _PRIVATE:
            if _within(meant, network):
                return "" if self.private else kind
        if isinstance(meant, IPv6Address) and meant not in _GLOBAL_UNICAST:
            return "not global unicast"
        return ""


def embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address carries: mapped, translated, NAT64 (RFC 6052) or 6to4 (RFC 3056)."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64 or address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def literal(host: str) -> Address | None:
    """The address that a host is written as; None for a name.

    Raises:
        ValueError: It is an address in another form than the plain one: decimal, octal, hexadecimal, shortened, or
            with a zone. Resolvers differ in what they make of these.
    """
    if ":" in host:
        address = ip_address(host)
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            raise ValueError("has a zone")
        return address
    last = host.rstrip(".").rpartition(".")[2]
    if not _NUMBER.fullmatch(last):
        return None
    try:
        return IPv4Address(host)
    except ValueError:
        raise ValueError("is an address that is not written as four decimal numbers") from None


def _within(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network
