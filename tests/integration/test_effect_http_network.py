"""Where API calls connect to: names and addresses, TLS. Nothing that a name turns out to be leads inside."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest

from onex_mesh.runtime.errors import EffectFailedError, TargetUnavailableError, ValidationError
from tests.http_server import HttpServer, answer
from tests.http_world import Names, http_world

CERTIFICATES = Path(__file__).parent / "certificates"
GET = ("api_call", "shop", "GET", {"path": "/x"})
POST = ("api_call", "shop", "POST", {"path": "/x"})


def _named(server: HttpServer, name: str = "shop.example") -> str:
    return f"{'http' if server.tls is None else 'https'}://{name}:{server.port}"


async def test_a_name_is_connected_to_as_it_was_checked(tmp_path: Path) -> None:
    """R7: the host is resolved once for a connection; the header Host keeps the name."""
    names = Names(["127.0.0.1"])
    async with HttpServer(answer(200)) as server, http_world(tmp_path, _named(server), resolver=names) as world:
        await world.effect(*GET)
        await world.effect(*GET)
        assert names.asked == ["shop.example"]
        assert server.connections == 1
        assert server.requests[0].headers["host"] == f"shop.example:{server.port}"


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("10.0.0.1", "private"),
        ("100.64.0.1", "shared"),
        ("169.254.169.254", "link local"),
        ("fe80::1", "link local"),
        ("fd00::1", "private"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("0.0.0.1", "unspecified"),
        ("224.0.0.1", "multicast"),
    ],
)
async def test_a_name_of_an_address_inside(tmp_path: Path, address: str, kind: str) -> None:
    """R7: without allow_private no such address is connected to, whoever says that it is the host's."""
    names = Names([address])
    async with (
        HttpServer(answer(200)) as server,
        http_world(tmp_path, _named(server), resolver=names, private="") as world,
    ):
        with pytest.raises(EffectFailedError, match=f"which is {kind}; allow_private"):
            await world.effect(*POST, key="k")
        with pytest.raises(EffectFailedError, match=f"which is {kind}"):
            await world.lanes["shop"].adapter.check()
        assert names.asked == ["shop.example"] * 2
        assert server.connections == 0


async def test_one_bad_address_condemns_them_all(tmp_path: Path) -> None:
    """R7: a name with a public and a private address is not connected to at all."""
    names = Names(["127.0.0.1", "10.0.0.1"])
    async with (
        HttpServer(answer(200)) as server,
        http_world(tmp_path, _named(server), resolver=names, private="[127.0.0.0/8]") as world,
    ):
        with pytest.raises(EffectFailedError, match=r"10\.0\.0\.1, which is private"):
            await world.effect(*GET)
        assert server.connections == 0


async def test_a_name_that_changes_its_address(tmp_path: Path) -> None:
    """R7: DNS rebinding. What a later answer says is checked for the connection that it is for, and leads nowhere; no
    second look is taken between the check and the connection."""
    allowed = "127.0.0.2/32"
    names = Names(["127.0.0.2"], ["127.0.0.1"])
    async with (
        HttpServer(answer(200, connection="close"), host="127.0.0.2") as server,
        HttpServer(answer(200), port=server.port) as inside,
        http_world(tmp_path, _named(server), resolver=names, private=f"[{allowed}]") as world,
    ):
        await world.effect(*GET)
        with pytest.raises(EffectFailedError, match=r"127\.0\.0\.1, which is loopback"):
            await world.effect(*GET)
        assert len(server.requests) == 1
        assert inside.connections == 0


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::ffff:7f00:1]", "127.0.0.1"])
async def test_addresses_in_disguise(tmp_path: Path, host: str) -> None:
    """R7: decimal, hexadecimal, octal, short and mapped forms of an address inside are refused by the file."""
    async with HttpServer(answer(200)) as server:
        with pytest.raises(ValidationError, match="base_url: "):
            async with http_world(tmp_path, f"http://{host}:{server.port}", private=""):
                pass
        assert server.connections == 0


async def test_the_next_address_is_tried(tmp_path: Path) -> None:
    """R25: where the first address takes no connection the second one may."""
    names = Names(["127.0.0.3", "127.0.0.1"])
    async with HttpServer(answer(200)) as server, http_world(tmp_path, _named(server), resolver=names) as world:
        assert (await world.effect(*POST)).metadata.attempts == 1
        assert len(server.requests) == 1


async def test_ipv6(tmp_path: Path) -> None:
    """R6: over IPv6, by address and by name."""
    try:
        async with HttpServer(answer(200), host="::1") as server:
            async with http_world(tmp_path, server.url) as world:
                await world.effect(*GET)
            async with http_world(tmp_path, _named(server), resolver=Names(["::1"])) as world:
                await world.effect(*GET)
            assert [request.headers["host"] for request in server.requests] == [
                f"[::1]:{server.port}",
                f"shop.example:{server.port}",
            ]
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")


async def test_a_name_that_is_not_found(tmp_path: Path) -> None:
    """R15: nothing was sent, so it is tried again, also without a key."""

    class Unknown:
        asked = 0

        async def __call__(self, host: str, port: int) -> list[str]:
            self.asked += 1
            raise OSError("no such name")

    names = Unknown()
    async with http_world(tmp_path, "http://shop.example", resolver=names) as world:
        with pytest.raises(TargetUnavailableError, match="cannot be resolved: no such name") as failed:
            await world.effect(*POST)
        assert failed.value.retryable
        assert names.asked == 4


async def test_connections_that_take_too_long(tmp_path: Path) -> None:
    """R15, R154: a name server, or a TLS handshake, that never ends: within connect_timeout_s. As nothing was sent, it
    is tried again without a key, too."""

    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    settings = (CA, "connect_timeout_s: 0.1")
    async with http_world(tmp_path, "https://shop.example", *settings, resolver=never) as world:
        with pytest.raises(TargetUnavailableError, match="ConnectTimeout") as failed:
            await world.effect(*POST)
        assert (failed.value.retryable, failed.value.error_context["attempts"]) == (True, 4)
    async with HttpServer(answer(200)) as silent, http_world(tmp_path, _tls_url(silent), *settings) as world:
        with pytest.raises(TargetUnavailableError, match="ConnectTimeout") as failed:
            await world.effect(*POST)
        assert (failed.value.retryable, failed.value.error_context["attempts"]) == (True, 4)


def _tls_url(server: HttpServer) -> str:
    return server.url.replace("http:", "https:")


def _server_tls(*, clients: bool = False) -> tuple[ssl.SSLContext, list[str | None]]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server-key.pem")
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(CERTIFICATES / "ca.pem")
    asked: list[str | None] = []
    # The callback's result is None for "go on".
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    return context, asked


CA = f"tls: {{ca_file: {CERTIFICATES / 'ca.pem'}}}"


async def test_tls_with_an_authority_of_its_own(tmp_path: Path) -> None:
    """R7: the certificate is for the name, and SNI names it, although an address is connected to."""
    context, asked = _server_tls()
    names = Names(["127.0.0.1"])
    async with HttpServer(answer(200), tls=context) as server:
        async with http_world(tmp_path, _named(server, "localhost"), CA, resolver=names) as world:
            await world.effect(*GET)
        assert asked == ["localhost"]
        assert names.asked == ["localhost"]


async def test_certificates_that_are_not_accepted(tmp_path: Path) -> None:
    """R7: of an unknown authority, or for another name: nothing is sent, and nothing is tried again."""
    context, asked = _server_tls()
    async with HttpServer(answer(200), tls=context) as server:
        async with http_world(tmp_path, server.url) as world:
            with pytest.raises(TargetUnavailableError, match=r"certificate was not accepted: .*issuer") as failed:
                await world.effect(*POST, key="k")
            assert not failed.value.retryable
        async with http_world(tmp_path, _named(server), CA, resolver=Names(["127.0.0.1"])) as world:
            with pytest.raises(TargetUnavailableError, match=r"certificate was not accepted: .*shop\.example"):
                await world.effect(*POST, key="k")
        assert server.requests == []
        assert asked == [None, "shop.example"]


async def test_a_server_that_asks_for_a_certificate(tmp_path: Path) -> None:
    """R7: mTLS; without a certificate the server refuses."""
    context, _ = _server_tls(clients=True)
    own = (
        f"tls: {{ca_file: {CERTIFICATES / 'ca.pem'}, certificate_file: {CERTIFICATES / 'client.pem'}, "
        f"key_file: {CERTIFICATES / 'client-key.pem'}}}"
    )
    async with HttpServer(answer(200), tls=context) as server:
        async with http_world(tmp_path, server.url, own) as world:
            await world.effect(*GET)
            assert len(server.requests) == 1
        async with http_world(tmp_path, server.url, CA) as world:
            with pytest.raises(TargetUnavailableError):
                await world.effect(*POST, retries=0)
        assert len(server.requests) == 1


async def test_tls_to_a_server_that_speaks_none(tmp_path: Path) -> None:
    """R25: nothing was understood, so it is safe to try again."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 This is plain HTTP\r\n\r\n")
        writer.close()

    plain = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}"
    async with plain, http_world(tmp_path, url, CA) as world:
        with pytest.raises(TargetUnavailableError, match="cannot be reached") as failed:
            await world.effect(*POST, retries=0)
        assert failed.value.retryable


def test_files_of_certificates(tmp_path: Path) -> None:
    """R17: what is missing, is none, or needs a password is told when the target opens."""
    key = CERTIFICATES / "client-key.pem"
    locked = tmp_path / "locked.pem"
    command = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:x", "-out", str(locked)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("openssl is not installed")
    from onex_mesh.effect.adapters.http.tls import ssl_context
    from onex_mesh.effect.core.kinds.tls import Tls

    client = CERTIFICATES / "client.pem"
    for settings, field in (
        (Tls(ca_file=tmp_path / "none.pem"), "tls.ca_file"),
        (Tls(ca_file=key), "tls.ca_file"),
        (Tls(certificate_file=client, key_file=tmp_path / "none.pem"), "tls.certificate_file"),
        (Tls(certificate_file=client, key_file=CERTIFICATES / "server-key.pem"), "tls.certificate_file"),
        (Tls(certificate_file=client, key_file=locked), "tls.certificate_file"),
    ):
        with pytest.raises(ValidationError, match=f"target 'shop': {field}: .* cannot be used: "):
            ssl_context("shop", settings)


async def test_the_environment_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R7: neither proxies nor a .netrc."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with HttpServer(answer(200)) as proxy, HttpServer(answer(200)) as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with http_world(tmp_path, server.url) as world:
            await world.effect(*GET)
        assert "authorization" not in server.requests[0].headers
        assert proxy.connections == 0
