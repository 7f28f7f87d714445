"""A real S3-compatible server for tests: moto's, in a process of its own, where moto is installed.

Run as a program it is that process: it prints its port and serves until its standard input ends. Two things it does
better than moto alone. Conditional puts are compared and made in one step, as S3 does: one request at a time. And it
tells what it was asked.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest

_Environ: TypeAlias = "dict[str, object]"
_StartResponse: TypeAlias = "Callable[..., object]"
_App: TypeAlias = "Callable[[_Environ, _StartResponse], Iterable[bytes]]"

_ASKED = "/onex-asked"
ACCESS_KEY, SECRET_KEY = "AKIATESTTESTTESTTEST", "a-secret-that-nobody-may-see"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it is at the server."""

    content: bytes
    headers: Mapping[str, str]


class S3Server:
    """A server on a free loopback port. Its objects are gone when it stops."""

    def __init__(self) -> None:
        if importlib.util.find_spec("moto") is None:
            pytest.skip("moto is not installed")
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where it is, as a target names it."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it and returns when it serves; after the first time on the same port."""
        assert self._process is None
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "PYTHONWARNINGS": "ignore"},
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.kill()
            raise RuntimeError("moto's server did not start")
        self.port = int(line)

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(timeout=20)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        self._process = None

    def pause(self) -> None:
        """Lets it stand still: connections are taken, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def make_bucket(self, bucket: str) -> None:
        """A new, empty bucket."""
        self._send("PUT", f"/{bucket}")

    def put(self, bucket: str, key: str, content: bytes, **headers: str) -> None:
        """Puts an object past the node, as another program would; header names with '_' for '-'."""
        self._send(
            "PUT", f"/{bucket}/{key}", content, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    def get(self, bucket: str, key: str) -> StoredObject:
        """An object as it is."""
        return self._send("GET", f"/{bucket}/{key}")

    def keys(self, bucket: str) -> list[str]:
        """All keys of a bucket, sorted."""
        text = self._send("GET", f"/{bucket}?list-type=2").content.decode()
        return sorted(part.partition("</Key>")[0] for part in text.split("<Key>")[1:])

    def asked(self) -> list[str]:
        """Every request so far: method and path."""
        rows = json.loads(self._send("GET", _ASKED).content)
        assert isinstance(rows, list)
        return rows

    def _send(
        self, method: str, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> StoredObject:
        # Signed as moto needs it to know that S3 is meant; it does not compare the signature.
        signed = {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/s3/aws4_request",
            "x-onex-test": "1",
            **(headers or {}),
        }
        request = urllib.request.Request(self.url + path, content, signed, method=method)  # noqa: S310 # loopback
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 # likewise
            return StoredObject(answer.read(), {name.lower(): value for name, value in answer.headers.items()})


def _ordered(app: _App) -> _App:
    """The same application, asked one request at a time; requests of the node are kept."""
    lock, asked = threading.Lock(), list[str]()

    def serve(environ: _Environ, start_response: _StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == _ASKED:
            start_response("200 OK", [("content-type", "application/json")])
            return [json.dumps(asked).encode()]

        def start_once(status: str, headers: list[tuple[str, str]], *rest: object) -> object:
            # The server adds its own name; two are an error to strict clients.
            return start_response(status, [row for row in headers if row[0].lower() != "server"], *rest)

        with lock:
            if "HTTP_X_ONEX_TEST" not in environ:
                asked.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            return list(app(environ, start_once))

    return serve


def _main() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app = _ordered(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True)  # type: ignore[arg-type]  # plain WSGI
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)  # noqa: T201 # read by the test
    sys.stdin.read()


if __name__ == "__main__":
    _main()
