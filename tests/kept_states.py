"""Calls on states that a reducer node keeps: contracts, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
import pytest

from onex.v1 import reducer_pb2, reducer_pb2_grpc
from onex_mesh.reducer.core import ReducerRegistry
from onex_mesh.runtime import errors
from onex_mesh.runtime.payload import json_payload
from tests.order_machine import OrderMachine

ORDER = {"items": [{"sku": "tea", "price": "2.50", "quantity": 3}], "customer_email": "ann@example.org"}


def registry() -> ReducerRegistry:
    made = ReducerRegistry()
    made.add_class(OrderMachine, name="order")
    return made


def place_order(owner: str = "order-7") -> reducer_pb2.ReducerContract:
    made = reducer_pb2.ReducerContract(correlation_id=owner)
    made.reduction_config.reducer = "order"
    made.fsm_action.action = "PLACE_ORDER"
    made.fsm_action.payload.CopyFrom(json_payload(ORDER))
    made.transaction_config.state_keys.append("state")
    return made


def total(records: Sequence[object], key: str = "total", owner: str = "o") -> reducer_pb2.ReducerContract:
    made = reducer_pb2.ReducerContract(correlation_id=owner, input_data=json_payload(records))
    made.reduction_config.aggregation_method = reducer_pb2.AGGREGATION_METHOD_SUM
    made.reduction_config.state_key = key
    made.transaction_config.state_keys.append(key)
    return made


async def run(
    stub: reducer_pb2_grpc.ReducerServiceStub, contract: reducer_pb2.ReducerContract
) -> reducer_pb2.ReducerOutput:
    response = await stub.ExecuteReduction(reducer_pb2.ExecuteReductionRequest(contract=contract), timeout=20)
    return response.output


async def failure(stub: reducer_pb2_grpc.ReducerServiceStub, contract: reducer_pb2.ReducerContract) -> errors.OnexError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await run(stub, contract)
    return errors.from_rpc_error(caught.value)


def backed_up(contract: reducer_pb2.ReducerContract, **fields: str) -> reducer_pb2.ReducerContract:
    contract.backup_config.CopyFrom(reducer_pb2.BackupConfig(**fields))
    return contract
