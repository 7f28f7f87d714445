"""What is written into a record, and how large it may be."""

from __future__ import annotations

import pytest

from onex.v1.workflow_pb2 import Commit
from onex_lease import Ownership, PayloadTooLargeError, ValidationError
from onex_lease.record import VALUE_BYTES_MAX, seal
from tests.lease_writers import record


def test_proof_of_the_writer() -> None:
    """R146: Every record names its lease, token, holder and epoch, and the hash of the record before it."""
    ownership = Ownership("w", "L", 7, "n1", epoch=4, last_hash=b"h" * 32)
    sealed = record("forged")
    sealed.commit_id, sealed.epoch, sealed.fencing_token, sealed.holder = "mine", 99, 99, "me"
    state, log = seal(sealed, ownership)
    assert log == sealed.SerializeToString()
    assert state == sealed.state.SerializeToString()
    assert (sealed.workflow_id, sealed.epoch, sealed.lease_id) == ("w", 5, "L")
    assert (sealed.fencing_token, sealed.holder, sealed.previous_hash) == (7, "n1", b"h" * 32)
    assert len(sealed.commit_id) == 36
    assert sealed.committed_at.seconds > 1_600_000_000


def test_size() -> None:
    """A record above 1 MiB is refused before anything is sent, with both sizes."""
    ownership = Ownership("w", "L", 7, "n1")
    with pytest.raises(PayloadTooLargeError) as refused:
        seal(record(size_bytes=VALUE_BYTES_MAX), ownership)
    assert refused.value.error_context["size_bytes_max"] == VALUE_BYTES_MAX
    # State and record together must fit into one request: the record holds the state a second time.
    with pytest.raises(PayloadTooLargeError):
        seal(record(size_bytes=VALUE_BYTES_MAX * 3 // 4), ownership)
    state, log = seal(record(size_bytes=VALUE_BYTES_MAX * 5 // 8), ownership)
    assert len(log) > len(state) > VALUE_BYTES_MAX // 2


def test_a_state_is_required() -> None:
    """R142: State and epoch change together, so a commit without a state is refused."""
    with pytest.raises(ValidationError, match="needs a state"):
        seal(Commit(), Ownership("w", "L", 7, "n1"))
