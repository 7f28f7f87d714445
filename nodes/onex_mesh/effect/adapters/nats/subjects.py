"""Subjects of messages: below the target's prefix, among those that it lists, never with a wildcard."""

from __future__ import annotations

from onex_mesh.effect.adapters.messages import Message
from onex_mesh.effect.core.kinds.nats import SUBJECT, SUBJECT_CHARS_MAX, NatsTarget
from onex_mesh.runtime.errors import ValidationError


def subject_of(message: Message, target: NatsTarget) -> str:
    """The subject of a message.

    Raises:
        ValidationError: Its topic, or its type where it has none, cannot be a subject or is not allowed.
    """
    field, below = ("topic", message.topic) if message.topic else ("event_type", message.event.type)
    problem = ""
    if not SUBJECT.fullmatch(below):
        problem = "cannot be a subject: it is not words of letters, digits, '_' and '-' with single dots between them"
        if field == "event_type":
            problem += "; give a topic"
    elif len(target.prefix) + 1 + len(below) > SUBJECT_CHARS_MAX:
        problem = f"is too long for a subject of {SUBJECT_CHARS_MAX} characters"
    elif not any(covers(pattern, below) for pattern in target.subjects):
        problem = f"{below!r} is not allowed at this target"
    if problem:
        raise ValidationError(f"{field}: {problem}", violations=((field, problem),))
    return f"{target.prefix}.{below}"


def covers(pattern: str, subject: str) -> bool:
    """Whether a pattern covers a subject, or another pattern: `*` is one word, `>` at the end the rest."""
    wanted, given = pattern.split("."), subject.split(".")
    for position, word in enumerate(wanted):
        if word == ">":
            return len(given) > position
        if position >= len(given) or given[position] == ">" or (word != "*" and word != given[position]):
            return False
    return len(wanted) == len(given)
