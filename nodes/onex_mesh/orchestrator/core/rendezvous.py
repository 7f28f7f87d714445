"""Which orchestrator takes over which workflow, without anybody asking anybody.

Rendezvous (highest random weight) hashing, after Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous"
(1996): every orchestrator ranks the living ones for a workflow in the same way, and a death moves only the workflows of
the dead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def ranking(workflow_id: str, instances: Sequence[str]) -> list[str]:
    """The instances in the order in which they should take the workflow over."""
    return sorted(instances, key=lambda instance: _weight(workflow_id, instance), reverse=True)


def rank(workflow_id: str, instance: str, instances: Sequence[str]) -> int:
    """Place of an instance in the ranking, from 0; behind all others if it is not among them."""
    order = ranking(workflow_id, instances)
    return order.index(instance) if instance in order else len(order)


def _weight(workflow_id: str, instance: str) -> bytes:
    return hashlib.blake2b(f"{instance}\0{workflow_id}".encode(), digest_size=8).digest()
