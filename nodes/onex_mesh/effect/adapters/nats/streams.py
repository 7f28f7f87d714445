"""The stream of a target: looked for, made where the target says so, never changed."""

from __future__ import annotations

import structlog
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from onex_mesh.effect.adapters.nats.subjects import covers
from onex_mesh.effect.core.kinds.nats import NatsTarget, NewStream
from onex_mesh.runtime.errors import EffectFailedError

log = structlog.get_logger(__name__)

_NAME_IN_USE = 10_058
_WINDOW_MIN_S = 60.0


async def find_stream(jetstream: JetStreamContext, target: NatsTarget, *, make: bool = False) -> None:
    """Finds the stream and looks whether it takes what the target sends.

    Args:
        jetstream: The connection.
        target: The declaration.
        make: Whether a stream that is missing is made, if the target says how.

    Raises:
        EffectFailedError: It is missing, or takes other subjects.
        nats.errors.Error: The server does not answer, or refused.
    """
    try:
        config = (await jetstream.stream_info(target.stream)).config
    except NotFoundError as error:
        if target.create is None or not make:
            raise EffectFailedError(f"there is no stream {target.stream!r}") from error
        config = await _made(jetstream, target, target.create)
    subjects = config.subjects or []
    for subject in sent_by(target):
        if not any(covers(pattern, subject) for pattern in subjects):
            raise EffectFailedError(f"the stream {target.stream!r} does not take {subject}, only {', '.join(subjects)}")
    window_s = config.duplicate_window or 0.0
    if make and window_s < _WINDOW_MIN_S:
        log.warning("a stream forgets message ids early", stream=target.stream, duplicate_window_s=window_s)


def sent_by(target: NatsTarget) -> list[str]:
    """The subjects that a target may send to, in full."""
    return [f"{target.prefix}.{pattern}" for pattern in target.subjects]


async def _made(jetstream: JetStreamContext, target: NatsTarget, new: NewStream) -> StreamConfig:
    wanted = StreamConfig(
        name=target.stream,
        subjects=list(new.subjects) or [f"{target.prefix}.>"],
        storage=StorageType(new.storage),
        num_replicas=new.replicas,
        max_age=new.max_age_s or 0.0,
        max_bytes=new.max_bytes or -1,
        max_msgs=new.max_messages or -1,
        discard=DiscardPolicy(new.discard),
        duplicate_window=new.duplicate_window_s,
    )
    try:
        made = await jetstream.add_stream(wanted)
    except BadRequestError as error:
        if error.err_code != _NAME_IN_USE:
            raise
        # Another node was quicker, with another declaration.
        return (await jetstream.stream_info(target.stream)).config
    log.info("a stream was made", stream=target.stream)
    return made.config
