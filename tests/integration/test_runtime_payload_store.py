"""The payload store on a folder, in memory, and on a real S3-compatible server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from onex.v1 import common_pb2
from onex_mesh.runtime import errors
from onex_mesh.runtime.payload import BYTES_TYPE
from onex_mesh.runtime.payload_store import PAYLOAD_BYTES_MAX, FsspecPayloads, location_of
from tests.s3_server import ACCESS_KEY, SECRET_KEY, S3Server


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Generator[S3Server, None, None]:
    server = S3Server()
    server.start()
    server.make_bucket("kept")
    for name, value in {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL": server.url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    yield server
    server.kill()


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


async def test_a_folder_gives_back_what_it_took(tmp_path: Path) -> None:
    """R61: the same bytes have one place, by their SHA-256; no other file is left."""
    store = FsspecPayloads(f"file://{tmp_path}")
    first, second = await store.put(b"abc"), await store.put(b"abc")
    assert first == second
    assert first.digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert first.uri == f"payloads/ba/{first.digest}"
    assert await store.get(first) == b"abc"
    assert contents(tmp_path) == [b"abc"]


async def test_memory_gives_back_what_it_took() -> None:
    """R61: for development."""
    store = FsspecPayloads("memory://test-payloads")
    assert await store.get(await store.put(b"", "a/b")) == b""


async def test_s3_gives_back_what_it_took(s3: S3Server) -> None:
    """R61: below the prefix, in the bucket; nothing of the credentials is in the location."""
    store = FsspecPayloads("s3://kept/mesh")
    location = await store.put(b"abc" * 1000, "backups")
    assert await store.get(location) == b"abc" * 1000
    assert s3.keys("kept") == [f"mesh/{location.uri}"]


async def test_an_s3_that_is_away_is_told_and_may_come_back(s3: S3Server) -> None:
    """R61: retryable, and without the address; the same store works when it is there again."""
    store = FsspecPayloads("s3://kept", timeout_s=30)
    await store.put(b"before")
    s3.kill()
    with pytest.raises(errors.DependencyResolutionError) as caught:
        await store.put(b"abc")
    assert caught.value.retryable
    assert str(s3.port) not in str(caught.value)
    s3.start()
    s3.make_bucket("kept")
    assert await store.get(await store.put(b"abc")) == b"abc"


async def test_what_an_s3_does_not_have_as_it_was_is_refused(s3: S3Server) -> None:
    """R61: missing, with another content, of another size, or too large; what is too large is not read."""
    store = FsspecPayloads("s3://kept/mesh")
    location = await store.put(b"abc")
    with pytest.raises(errors.PayloadTooLargeError):
        await store.get(common_pb2.PayloadLocation(uri=location.uri, digest=location.digest), bytes_max=2)
    s3.put("kept", f"mesh/{location.uri}", b"abcd", content_type=BYTES_TYPE)
    with pytest.raises(errors.ValidationError, match="has 4 bytes, not 3"):
        await store.get(location)
    assert not [row for row in s3.asked() if row == f"GET /kept/mesh/{location.uri}"]
    s3.put("kept", f"mesh/{location.uri}", b"abd", content_type=BYTES_TYPE)
    with pytest.raises(errors.ValidationError, match="another SHA-256"):
        await store.get(location)
    with pytest.raises(errors.ValidationError, match="nothing is at"):
        await store.get(location_of(b"other"))


async def test_a_store_that_hangs_holds_up_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R25: it is given up after a time, and has no thread of others."""
    store = FsspecPayloads(f"file://{tmp_path}", timeout_s=0.2)
    released = threading.Event()
    monkeypatch.setattr(store, "_read", lambda *_: released.wait(20))
    try:
        hanging = [asyncio.create_task(store.get(location_of(bytes([number])))) for number in range(40)]
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "quick"), 5) == "quick"
        failures = await asyncio.gather(*hanging, return_exceptions=True)
        assert {type(failure) for failure in failures} == {errors.DependencyResolutionError}
    finally:
        released.set()


async def test_what_was_changed_or_removed_is_refused(tmp_path: Path) -> None:
    """R61: a digest that differs is never handed out."""
    store = FsspecPayloads(f"file://{tmp_path}")
    location = await store.put(b"abc")
    (tmp_path / location.uri).write_bytes(b"abd")
    with pytest.raises(errors.ValidationError, match="another SHA-256"):
        await store.get(location)
    (tmp_path / location.uri).unlink()
    with pytest.raises(errors.ValidationError, match="nothing is at"):
        await store.get(location)


@pytest.mark.parametrize("uri", ["", "a", "/etc/passwd", "../x/" + "a" * 64, "a/../b/" + "a" * 64, "a/b"])
async def test_a_location_does_not_lead_out_of_the_store(tmp_path: Path, uri: str) -> None:
    """R61: only what the store itself made is read."""
    with pytest.raises(errors.ValidationError, match="no location"):
        await FsspecPayloads(f"file://{tmp_path}").get(common_pb2.PayloadLocation(uri=uri, digest="a" * 64))


@pytest.mark.parametrize("folder", ["", "/a", "a/", "..", "a/../b", ".a", "a b", "a//b"])
async def test_a_folder_does_not_lead_out_of_the_store(tmp_path: Path, folder: str) -> None:
    """R61: refused with the field's name."""
    with pytest.raises(errors.ValidationError, match="backup_location"):
        await FsspecPayloads(f"file://{tmp_path}").put(b"", folder)


async def test_what_is_too_large_is_refused(tmp_path: Path) -> None:
    """R61: in writing, and in reading before it is in memory."""
    store = FsspecPayloads(f"file://{tmp_path}")
    with pytest.raises(errors.PayloadTooLargeError):
        await store.put(bytes(PAYLOAD_BYTES_MAX + 1))
    location = await store.put(b"abc")
    with (tmp_path / location.uri).open("r+b") as file:
        file.truncate(PAYLOAD_BYTES_MAX + 1)
    with pytest.raises(errors.PayloadTooLargeError):
        await store.get(location)


async def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """R61: retryable; the path is not told."""
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.DependencyResolutionError) as caught:
        await FsspecPayloads(f"file://{tmp_path}/file").put(b"abc")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "file://", "file://host/a", "http://a/b", "s3://key:secret@bucket/a", "s3://bucket?secret=1", "s3:///a", "/a"],
)
def test_an_address_that_is_none_or_tells_a_secret_is_refused(url: str) -> None:
    """R61: and not repeated."""
    with pytest.raises(errors.ValidationError) as caught:
        FsspecPayloads(url)
    assert "secret" not in str(caught.value)
