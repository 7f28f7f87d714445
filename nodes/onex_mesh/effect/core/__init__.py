"""What the EFFECT node decides: contracts, retry, breaker, order, keys, targets. No transport, no etcd."""

from onex_mesh.effect.core.custom import CustomEffect, EffectRegistry
from onex_mesh.effect.core.request import EffectContext

__all__ = ["CustomEffect", "EffectContext", "EffectRegistry"]
