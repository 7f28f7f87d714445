"""The check of an action before a node executes it: shape, kind, expiry, token, lease, epoch (R118–R120, R136–R144).

The lease is checked against etcd itself before an effect. Pure work is checked against the watch-fed view: an action of
a lost lease does no harm there, as its result can only enter the workflow by a commit, which is compared.
"""

from __future__ import annotations

import time
from collections import OrderedDict

from onex.v1 import action_pb2, common_pb2
from onex_lease import Journal, LiveView, ViewVerdict
from onex_mesh.runtime.errors import ActionExpiredError, LeaseExpiredError, ValidationError

TOKENS_KEPT = 100_000
VIEW_WAIT_S = 0.05
LINKS_MAX = 1_000

_REQUIRED = ("action_id", "lease_id", "workflow_id")
_YEAR_10000 = 253_402_300_800

_COMMANDS: dict[common_pb2.NodeKind, frozenset[str]] = {
    common_pb2.NODE_KIND_EFFECT: frozenset(("effect", "intents")),
    common_pb2.NODE_KIND_COMPUTE: frozenset(("compute", "chain")),
    common_pb2.NODE_KIND_REDUCER: frozenset(("reduction", "chain")),
}


def kind_label(kind: common_pb2.NodeKind) -> str:
    """The kind as people read it: "EFFECT"; the number of one that this version does not know."""
    name = common_pb2.NodeKind.DESCRIPTOR.values_by_number.get(kind)
    return str(kind) if name is None else str(name.name).removeprefix("NODE_KIND_")


class ActionValidator:
    """Checks actions for one node."""

    def __init__(self, kind: common_pb2.NodeKind, journal: Journal, view: LiveView) -> None:
        self._kind = kind
        self._journal = journal
        self._view = view
        self._tokens: OrderedDict[str, int] = OrderedDict()

    async def validate(self, action: action_pb2.Action, *, streamed: bool) -> None:
        """Checks an action.

        Args:
            action: The action.
            streamed: Whether it came over the Dispatch stream, the fast path between nodes: a pure node then looks at
                its view. A single call is always checked against etcd, its epoch too.

        Raises:
            ValidationError: Something required is missing, or it is not for this node (R139).
            ActionExpiredError: It is past its expires_at (R138).
            LeaseExpiredError: Its lease is over, or a later one was seen (R136).
            LeaseInvalidError: Its lease was never held (R144).
            EpochMismatchError: Its epoch is ahead of the workflow's (R137).
        """
        self._check_shape(action)
        if action.expires_at.seconds + action.expires_at.nanos / 1e9 <= time.time():
            raise ActionExpiredError(
                f"action {action.action_id} is past its expires_at {action.expires_at.ToJsonString()}",
                correlation_id=action.correlation_id,
            )
        self._check_token(action)
        if not (streamed and self._kind != common_pb2.NODE_KIND_EFFECT and await self._view_says_valid(action)):
            await self._journal.check(action.workflow_id, action.lease_id, action.fencing_token, action.epoch)
        # A later lease may have been seen while this one was being checked.
        self._check_token(action)
        self._remember_token(action)

    async def _view_says_valid(self, action: action_pb2.Action) -> bool:
        """Whether the view is new enough to tell, and says that the lease holds."""
        verdict = self._view.check(action.workflow_id, action.lease_id, action.fencing_token)
        if verdict is ViewVerdict.VALID:
            return True
        if not await self._view.caught_up(action.fencing_token, VIEW_WAIT_S):
            return False
        return self._view.check(action.workflow_id, action.lease_id, action.fencing_token) is ViewVerdict.VALID

    def _check_shape(self, action: action_pb2.Action) -> None:
        violations = [(field, "is required") for field in _REQUIRED if not getattr(action, field)]
        if action.fencing_token <= 0:
            violations.append(("fencing_token", "is required, and positive"))
        if action.epoch < 0:
            violations.append(("epoch", "must not be negative"))
        if not action.HasField("expires_at"):
            violations.append(("expires_at", "is required"))
        for field, instant in (("expires_at", action.expires_at), ("issued_at", action.issued_at)):
            if not (0 <= instant.seconds < _YEAR_10000 and 0 <= instant.nanos < 1_000_000_000):
                violations.append((field, "is no time between 1970 and 9999"))
        if action.action_type != action_pb2.ACTION_TYPE_DELEGATE_TASK:
            violations.append(("action_type", "this node takes DELEGATE_TASK; the others change a workflow"))
        elif action.target_node != self._kind:
            given, own = kind_label(action.target_node), kind_label(self._kind)
            violations.append(("target_node", f"is {given}; this is an {own} node"))
        else:
            self._check_command(action.command_payload, violations)
        if violations:
            raise ValidationError(
                f"{violations[0][0]} {violations[0][1]}",
                violations=tuple(violations),
                correlation_id=action.correlation_id,
            )

    def _check_command(self, command: action_pb2.Command, violations: list[tuple[str, str]]) -> None:
        kind = command.WhichOneof("command")
        allowed = _COMMANDS[self._kind]
        if kind not in allowed:
            violations.append(("command_payload", f"this node executes {', '.join(sorted(allowed))}"))
        elif kind == "chain":
            links = command.chain.links
            if not 0 < len(links) <= LINKS_MAX:
                violations.append(("command_payload.chain.links", f"must be 1 to {LINKS_MAX}, not {len(links)}"))
            for index, link in enumerate(links):
                inner = link.command.WhichOneof("command")
                if inner == "chain" or inner not in allowed:
                    own = ", ".join(sorted(allowed - {"chain"}))
                    violations.append((f"command_payload.chain.links[{index}].command", f"must be {own}"))

    def _check_token(self, action: action_pb2.Action) -> None:
        seen = self._tokens.get(action.workflow_id, 0)
        if action.fencing_token < seen:
            raise LeaseExpiredError(
                f"a later lease on workflow {action.workflow_id!r} was seen: token {seen} after {action.fencing_token}",
                correlation_id=action.correlation_id,
                error_context={"seen": seen, "given": action.fencing_token},
            )

    def _remember_token(self, action: action_pb2.Action) -> None:
        tokens = self._tokens
        tokens[action.workflow_id] = action.fencing_token
        # The least recently used goes first: a workflow that is driven now keeps its token.
        tokens.move_to_end(action.workflow_id)
        if len(tokens) > TOKENS_KEPT:
            tokens.popitem(last=False)
