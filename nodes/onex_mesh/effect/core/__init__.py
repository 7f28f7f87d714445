"""What the EFFECT node decides: contracts, retry, breaker, order, keys, targets. No transport, no etcd."""

from onex_mesh.effect.core.compensation import Compensation, Inverse
from onex_mesh.effect.core.custom import CustomEffect, EffectRegistry
from onex_mesh.effect.core.request import EffectContext

__all__ = ["Compensation", "CustomEffect", "EffectContext", "EffectRegistry", "Inverse"]
