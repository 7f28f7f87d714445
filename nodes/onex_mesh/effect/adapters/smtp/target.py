"""Mail servers as targets."""

from __future__ import annotations

from collections.abc import Mapping

from onex_mesh.effect.adapters.smtp.answers import smtp_errors
from onex_mesh.effect.adapters.smtp.connections import Connections
from onex_mesh.effect.adapters.smtp.delivery import Delivery
from onex_mesh.effect.adapters.smtp.message import compose, to_bytes
from onex_mesh.effect.adapters.smtp.parameters import MailRules, Notification
from onex_mesh.effect.adapters.smtp.templates import MailTemplates, RenderedMail
from onex_mesh.effect.core.credentials import read_secret
from onex_mesh.effect.core.kinds.smtp import SmtpTarget
from onex_mesh.effect.core.request import EffectContext, EffectPlan, EffectRequest, EffectValue, Once
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError


class SmtpAdapter:
    """See `onex_mesh.effect.ports.TargetAdapter`."""

    def __init__(self, name: str, target: SmtpTarget, environment: Mapping[str, str]) -> None:
        self._name = name
        password = read_secret(name, target.password_env, target.password_file, environment)
        try:
            self._rules = MailRules.of(target)
            self._templates = MailTemplates(target.templates, size_bytes_max=target.limits.size_bytes)
            self._connections = Connections(name, target, password)
        except ValidationError as error:
            raise ValidationError(f"target {name!r}: {error.message}", violations=error.violations) from error

    async def start(self) -> None:
        """Nothing: connections are made as they are needed."""

    def plan(self, request: EffectRequest) -> EffectPlan:
        """Checks recipients and data, and renders the mail."""
        given = self._rules.check(request)
        mail = self._templates.render(given.given.template, given.given.data)
        size, size_max = mail.size_bytes + given.size_bytes, self._rules.target.limits.size_bytes
        if size > size_max:
            raise PayloadTooLargeError(
                f"a mail of {size} bytes is more than {size_max}",
                error_context={"size_bytes": size, "size_bytes_max": size_max},
            )
        sending = _Sending(self._name, self._rules, self._connections, given, mail)
        return EffectPlan(
            run=sending.attempt,
            operation=f"mail {given.given.template}",
            once=Once.BY_LEDGER,
            settle=sending.settle,
        )

    async def check(self) -> None:
        """Greets the server."""
        async with self._connections.connection() as client:
            with smtp_errors(self._name):
                await client.noop()

    async def stop(self) -> None:
        """Says goodbye on all connections."""
        await self._connections.close()


class _Sending:
    """The attempts at one notification. It is composed once, so that they send the same mail."""

    def __init__(
        self, name: str, rules: MailRules, connections: Connections, given: Notification, mail: RenderedMail
    ) -> None:
        self._name = name
        self._rules = rules
        self._connections = connections
        self._given = given
        self._mail = mail
        self._delivery: Delivery | None = None

    async def attempt(self, context: EffectContext) -> EffectValue:
        if self._delivery is None:
            message = compose(self._given, self._mail, self._rules, context)
            self._delivery = Delivery(
                self._name,
                message,
                to_bytes(message),
                self._rules.sender,
                self._given.recipients,
                has_key=bool(context.idempotency_key),
            )
        async with self._connections.connection() as client:
            return await self._delivery.attempt(client)

    def settle(self) -> EffectValue | None:
        return self._delivery.settle() if self._delivery is not None else None
