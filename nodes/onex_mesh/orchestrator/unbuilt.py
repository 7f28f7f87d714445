"""The orchestrator's services that are part of the contract but not built yet. Each method says so by name."""

from __future__ import annotations

from collections.abc import AsyncIterator

from onex.v1 import definition_pb2, definition_pb2_grpc, event_pb2, event_pb2_grpc
from onex_mesh.orchestrator.servicer import not_built
from onex_mesh.runtime.call import CallContext


class DefinitionServicer(definition_pb2_grpc.DefinitionServiceServicer):
    """DefinitionService."""

    async def ApplyDefinition(
        self, request: definition_pb2.ApplyDefinitionRequest, context: CallContext
    ) -> definition_pb2.ApplyDefinitionResponse:
        """Not built yet."""
        raise not_built("ApplyDefinition")

    async def GetDefinition(
        self, request: definition_pb2.GetDefinitionRequest, context: CallContext
    ) -> definition_pb2.GetDefinitionResponse:
        """Not built yet."""
        raise not_built("GetDefinition")

    async def ListDefinitions(
        self, request: definition_pb2.ListDefinitionsRequest, context: CallContext
    ) -> definition_pb2.ListDefinitionsResponse:
        """Not built yet."""
        raise not_built("ListDefinitions")


class EventServicer(event_pb2_grpc.EventServiceServicer):
    """EventService."""

    async def Publish(self, request: event_pb2.PublishRequest, context: CallContext) -> event_pb2.PublishResponse:
        """Not built yet."""
        raise not_built("Publish")

    async def Subscribe(
        self, request: event_pb2.SubscribeRequest, context: CallContext
    ) -> AsyncIterator[event_pb2.SubscribeResponse]:
        """Not built yet."""
        raise not_built("Subscribe")
        yield event_pb2.SubscribeResponse()  # makes this a generator, as a streaming method must be
