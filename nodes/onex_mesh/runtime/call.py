"""The context of a call, as servicers annotate it."""

from __future__ import annotations

from typing import TypeAlias

import grpc
from google.protobuf.message import Message

CallContext: TypeAlias = grpc.aio.ServicerContext[Message, Message]
"""What grpc.aio hands to a servicer's method."""
