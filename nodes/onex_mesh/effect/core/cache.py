"""Responses of reads, kept as long as the contract that first asked allows (R23)."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from onex_mesh.effect.core.request import EffectRequest, EffectValue

_ENTRIES_MAX = 1_000


@dataclass(frozen=True, slots=True)
class _Entry:
    value: EffectValue
    stored_at: float


class ResponseCache:
    """Least recently used responses of one node, each with the age at which a request still takes it."""

    def __init__(self, *, clock: Callable[[], float], entries_max: int = _ENTRIES_MAX) -> None:
        self._clock = clock
        self._entries_max = entries_max
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def get(self, key: str, ttl_s: float) -> EffectValue | None:
        """The response under a key if it is not older than the request allows."""
        entry = self._entries.get(key)
        if entry is None or self._clock() - entry.stored_at >= ttl_s:
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: str, value: EffectValue) -> None:
        """Keeps a response; the one not used for longest goes where there are too many."""
        self._entries[key] = _Entry(value, self._clock())
        self._entries.move_to_end(key)
        while len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)


def cache_key(request: EffectRequest) -> str:
    """Where the response to a request is kept: the contract's key within its target, or a hash of what is asked."""
    asked = (
        request.cache_key
        if request.cache_key
        else [request.operation, request.parameters, repr(request.body) if request.has_body else None]
    )
    text = json.dumps([request.target, request.effect_type, asked], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
