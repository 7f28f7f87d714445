"""Idempotency keys where a contract gives none."""

from __future__ import annotations

import hashlib
import re

KEY_LENGTH_MAX = 255
KEY_SHAPE = f"1 to {KEY_LENGTH_MAX} visible ASCII characters"
_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]{1,255}")


def is_key(text: str) -> bool:
    """Whether a text may be an idempotency key: 1 to 255 visible ASCII characters.

    Keys travel in HTTP and mail headers and in etcd, so blanks, control characters and others are refused.
    """
    return _VISIBLE_ASCII.fullmatch(text) is not None


def step_key(workflow_id: str, step_id: str) -> str:
    """The key of a workflow's effect step: the same over retries and takeovers."""
    return _derived("step", workflow_id, step_id)


def intent_key(workflow_id: str, intent_id: str) -> str:
    """The key of an intent; its id is itself derived from the action that emitted it."""
    return _derived("intent", workflow_id, intent_id)


def _derived(kind: str, *parts: str) -> str:
    # A separator that no part can hold keeps ("a", "bc") and ("ab", "c") apart.
    digest = hashlib.sha256("\x00".join((kind, *parts)).encode()).hexdigest()
    return f"{kind}-{digest[:40]}"
