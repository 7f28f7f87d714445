"""Copies of kept states: differences are exact, and a chain of them comes to the state or is refused."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onex.v1 import common_pb2, reducer_pb2
from onex_mesh.reducer.copies import CHAIN_MAX, Copies, whole_copy
from onex_mesh.reducer.core.difference import PATCH_TYPE, applied, difference, digest_of
from onex_mesh.reducer.ports import Answer, Change, KeptState, LastCopy, StateName
from onex_mesh.runtime.errors import DependencyResolutionError, ValidationError
from onex_mesh.runtime.payload import bytes_payload, json_payload

NAME = StateName("o", "s")
INCREMENTAL = reducer_pb2.BackupConfig(backup_type="incremental")

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**53), max_value=2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.sampled_from(["", "~", "/", "~1", "a/b", "0", "-"]),
)
KEYS = st.text(max_size=3) | st.sampled_from(["", "~", "/", "~0/~1", "0", "-", "a"])
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=20
)


@st.composite
def changed_documents(draw: st.DrawFn) -> list[object]:
    """Documents of which each is the one before with a few changes, or another one."""
    documents: list[object] = [draw(DOCUMENTS)]
    for _ in range(draw(st.integers(min_value=1, max_value=6))):
        document = copy.deepcopy(documents[-1])
        for _ in range(draw(st.integers(min_value=1, max_value=3))):
            document = changed(document, draw)
        documents.append(document)
    return documents


def changed(document: object, draw: st.DrawFn) -> object:
    """The document with one change at some place in it."""
    if isinstance(document, dict) and document and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(document)))
        document[key] = changed(document[key], draw)
    elif isinstance(document, dict):
        document[draw(KEYS)] = draw(DOCUMENTS)
    elif isinstance(document, list) and document and draw(st.booleans()):
        index = draw(st.integers(min_value=0, max_value=len(document) - 1))
        if draw(st.booleans()):
            document[index] = changed(document[index], draw)
        else:
            document.append(document.pop(index))
    elif isinstance(document, list):
        document.insert(draw(st.integers(min_value=0, max_value=len(document))), draw(DOCUMENTS))
    else:
        return draw(DOCUMENTS)
    return document


@dataclass
class NotedCopies:
    """States that only know the newest copy; told of `stale` once, as if another was noted since that was read."""

    last: LastCopy = field(default_factory=lambda: LastCopy(reducer_pb2.BackupRecord()))
    stale: LastCopy | None = None

    async def load(self, name: StateName) -> KeptState:
        raise NotImplementedError

    async def answer(self, name: StateName, action_id: str) -> Answer | None:
        raise NotImplementedError

    async def commit(self, changes: Sequence[Change], answer: Answer | None = None) -> None:
        raise NotImplementedError

    async def last_copy(self, name: StateName) -> LastCopy:
        stale, self.stale = self.stale, None
        return stale or self.last

    async def note_copy(self, name: StateName, before: LastCopy, record: reducer_pb2.BackupRecord) -> bool:
        if before.revision != self.last.revision:
            return False
        self.last = LastCopy(record, before.revision + 1)
        return True


class Payloads:
    """A payload store in memory, by the rules of the real one."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.reads = 0
        self.is_away = False

    async def put(self, data: bytes, folder: str = "payloads") -> common_pb2.PayloadLocation:
        if self.is_away:
            raise DependencyResolutionError("away")
        digest = hashlib.sha256(data).hexdigest()
        self.kept[f"{folder}/{digest}"] = data
        return common_pb2.PayloadLocation(uri=f"{folder}/{digest}", digest=digest, size_bytes=len(data))

    async def get(self, location: common_pb2.PayloadLocation) -> bytes:
        self.reads += 1
        data = self.kept.get(location.uri)
        if data is None:
            raise ValidationError(f"uri: nothing is at {location.uri!r}")
        if hashlib.sha256(data).hexdigest() != location.digest:
            raise ValidationError(f"digest: what is at {location.uri!r} has another SHA-256")
        return data


def kept_state(epoch: int, document: object) -> KeptState:
    metadata = {"commit_id": f"c{epoch}", "maker": "m"}
    record = reducer_pb2.BackupRecord(correlation_id="o", state=json_payload(document), metadata=metadata)
    record.timestamp.FromSeconds(1_800_000_000 + epoch)
    return KeptState(epoch, record)


def large(**fields: object) -> dict[str, object]:
    """A state of which a change is the smaller part."""
    return {"rows": [f"row {index}" for index in range(200)], **fields}


class Chain:
    """Copies of a state, commit by commit."""

    def __init__(self) -> None:
        self.payloads, self.states = Payloads(), NotedCopies()
        self.copies = Copies(self.payloads, self.states)
        self.now = KeptState(0, reducer_pb2.BackupRecord())
        self.uris: list[str] = []

    async def commit(self, document: object, config: reducer_pb2.BackupConfig | None = INCREMENTAL) -> None:
        """One commit, and its copy where one is asked for."""
        before, self.now = self.now, kept_state(self.now.epoch + 1, document)
        if config is not None:
            result = await self.copies.make(NAME, before, self.now, config)
            assert not result.HasField("error")
            self.uris.append(result.location.uri)

    def types(self) -> str:
        """ "f" or "i" for each copy."""
        records = [reducer_pb2.BackupRecord.FromString(self.payloads.kept[uri]) for uri in self.uris]
        return "".join(record.metadata["backup_type"][0] for record in records)


@given(changed_documents())
def test_a_difference_is_exact_or_there_is_none(documents: list[object]) -> None:
    """R61: applied to the one state it makes the other, bit for bit; and it is smaller."""
    states = [json_payload(document) for document in documents]
    for before, after in pairwise(states):
        patch = difference(before, after)
        if patch is not None:
            assert patch.ByteSize() < after.ByteSize()
            assert applied(before, patch, digest_of(after)) == after


@given(changed_documents())
@settings(deadline=None)
async def test_every_copy_of_a_chain_comes_to_its_state(documents: list[object]) -> None:
    """R61, R62: whatever the states are, each copy gives back the one that it was made of, with its facts."""
    chain, made = Chain(), []
    for document in documents:
        # Most of it stays the same, so that there are differences that are smaller.
        await chain.commit([document, large()])
        made.append(chain.now)
    for uri, now in zip(chain.uris, made, strict=True):
        copied = await whole_copy(uri, chain.payloads)
        assert copied.state == now.record.state
        assert copied.metadata["epoch"] == str(now.epoch)
        assert copied.timestamp == now.record.timestamp


@pytest.mark.parametrize(
    ("before", "after"),
    [(0.0, -0.0), ([1], [True]), ({"a": None}, {}), ({"a": 1}, {"a": None}), ([], {}), ("1", 1), ({}, {"": {}})],
)
async def test_states_that_are_nearly_equal(before: object, after: object) -> None:
    """R61: a negative zero, true and one, null and nothing."""
    chain = Chain()
    await chain.commit(large(value=before))
    await chain.commit(large(value=after))
    assert (await whole_copy(chain.uris[1], chain.payloads)).state == json_payload(large(value=after))


def test_what_is_no_json_has_no_difference() -> None:
    """R61: such a state is copied whole."""
    assert difference(json_payload(1), bytes_payload(b"x" * 1000)) is None
    assert difference(bytes_payload(b"x" * 1000), json_payload("y" * 1000)) is None


async def test_what_changed_is_copied_and_what_is_bounded() -> None:
    """R61: the first is full, then differences, and after a bounded number of them a full one; without a read."""
    chain = Chain()
    for number in range(CHAIN_MAX + 3):
        await chain.commit(large(number=number))
    assert chain.types() == "f" + "i" * (CHAIN_MAX - 1) + "fii"
    assert chain.payloads.reads == 0
    sizes = [len(chain.payloads.kept[uri]) for uri in chain.uris]
    assert sizes[1] < sizes[0] / 4
    for number, uri in enumerate(chain.uris):
        assert (await whole_copy(uri, chain.payloads)).state == json_payload(large(number=number))


async def test_a_difference_that_would_be_larger_is_a_full_copy() -> None:
    """R61: everything changed; and where a full one is asked for it is full, and the next builds on it."""
    chain = Chain()
    await chain.commit({"a": "x" * 100})
    await chain.commit({"b": "y" * 100})
    await chain.commit(large(), reducer_pb2.BackupConfig())
    await chain.commit(large(more=1))
    assert chain.types() == "fffi"


async def test_commits_without_a_copy_are_in_the_next_difference() -> None:
    """R61: it is taken to the copy before, which is read, and not to the state before."""
    chain = Chain()
    await chain.commit(large())
    await chain.commit(large(a=1), None)
    await chain.commit(large(a=1, b=2))
    assert (chain.types(), chain.payloads.reads) == ("fi", 1)
    assert (await whole_copy(chain.uris[1], chain.payloads)).state == json_payload(large(a=1, b=2))


async def test_a_copy_before_that_is_gone_makes_the_next_one_full() -> None:
    """R61: nothing is built on what cannot be restored."""
    chain = Chain()
    await chain.commit(large())
    await chain.commit(large(a=1), None)
    chain.payloads.kept.clear()
    await chain.commit(large(a=2))
    copied = reducer_pb2.BackupRecord.FromString(chain.payloads.kept[chain.uris[1]])
    assert copied.metadata["backup_type"] == "full"


async def test_a_broken_chain_is_refused_with_what_is_missing() -> None:
    """R61: a copy that is gone, changed, another one's, or that leads to another state; each is named."""
    chain = Chain()
    for number in range(4):
        await chain.commit(large(number=number))
    full, middle, last = chain.uris[0], chain.uris[1], chain.uris[3]
    whole = dict(chain.payloads.kept)
    for break_it, text in (
        (lambda kept: kept.pop(full), f"nothing is at '{full}'"),
        (lambda kept: kept.pop(middle), f"nothing is at '{middle}'"),
        (lambda kept: kept.update({middle: b"other"}), f"what is at '{middle}' has another SHA-256"),
    ):
        chain.payloads.kept = dict(whole)
        break_it(chain.payloads.kept)
        with pytest.raises(ValidationError, match="the chain of copies is broken") as caught:
            await whole_copy(last, chain.payloads)
        assert text in caught.value.message
        assert last in caught.value.message


async def copy_with(chain: Chain, **metadata: str) -> str:
    """The newest copy again, with other facts."""
    record = reducer_pb2.BackupRecord.FromString(chain.payloads.kept[chain.uris[-1]])
    record.metadata.update(metadata)
    return (await chain.payloads.put(record.SerializeToString())).uri


async def test_copies_that_do_not_fit_are_refused() -> None:
    """R61: a difference to another state, one that builds on nothing, and a chain that has no beginning."""
    chain, other = Chain(), Chain()
    await chain.commit(large())
    await chain.commit(large(a=1))
    await other.commit({"rows": "none"})
    other_uri = (await chain.payloads.put(other.payloads.kept[other.uris[0]])).uri
    for metadata, text in (
        ({"previous": other_uri, "state_sha256": "0"}, "leads to another state"),
        ({"state_sha256": "0"}, "leads to another state"),
        ({"previous": ""}, "none of its 1 newest copies is a full one"),
    ):
        with pytest.raises(ValidationError, match=text) as caught:
            await whole_copy(await copy_with(chain, **metadata), chain.payloads)
        assert caught.value.message.count("the chain of copies is broken") == 1
    at = chain.uris[-1]
    for _ in range(CHAIN_MAX):
        at = await copy_with(chain, previous=at)
    with pytest.raises(ValidationError, match=f"none of its {CHAIN_MAX} newest copies is a full one"):
        await whole_copy(at, chain.payloads)
    record = reducer_pb2.BackupRecord.FromString(chain.payloads.kept[chain.uris[-1]])
    record.state.data = b'[{"op": "remove", "path": "/nowhere"}]'
    broken = await chain.payloads.put(record.SerializeToString())
    with pytest.raises(ValidationError, match="does not fit the state before it"):
        await whole_copy(broken.uri, chain.payloads)


async def test_a_copy_that_was_made_is_not_made_again() -> None:
    """R61: a call that is made again gets the copy that is there."""
    chain = Chain()
    await chain.commit(large())
    again = await chain.copies.make(NAME, chain.now, chain.now, INCREMENTAL)
    (data,) = chain.payloads.kept.values()
    assert (again.location.uri, again.location.size_bytes) == (chain.uris[0], len(data))
    assert len(chain.payloads.kept) == 1


async def test_an_older_copy_does_not_become_the_newest() -> None:
    """R61: of two that are made at the same time, later copies build on the one of the later epoch."""
    chain = Chain()
    await chain.commit(large())
    first, second = kept_state(2, large(a=1)), kept_state(3, large(a=2))
    behind = NotedCopies(chain.states.last)
    newer = await chain.copies.make(NAME, first, second, INCREMENTAL)
    behind.stale, behind.last = behind.last, chain.states.last
    older = await Copies(chain.payloads, behind).make(NAME, chain.now, first, INCREMENTAL)
    assert older.location.uri in chain.payloads.kept
    assert behind.last.record.metadata["uri"] == newer.location.uri


async def test_a_store_that_is_away_is_told() -> None:
    """R61, R63: there is no copy, nothing is noted, and the next one is made as ever."""
    chain = Chain()
    chain.payloads.is_away = True
    result = await chain.copies.make(NAME, chain.now, kept_state(1, 1), INCREMENTAL)
    assert result.error.reason == "DEPENDENCY_UNAVAILABLE"
    assert chain.states.last.revision == 0


async def test_a_patch_is_its_media_type() -> None:
    """R62: readers of other languages know it by RFC 6902's media type, and by its metadata."""
    chain = Chain()
    await chain.commit(large())
    await chain.commit(large(a=1))
    record = reducer_pb2.BackupRecord.FromString(chain.payloads.kept[chain.uris[1]])
    assert record.state.content_type == PATCH_TYPE == "application/json-patch+json"
    assert record.state.data == b'[{"op": "add", "path": "/a", "value": 1}]'
    assert record.metadata["previous"] == chain.uris[0]
