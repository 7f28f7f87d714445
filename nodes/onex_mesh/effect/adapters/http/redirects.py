"""Redirects: refused, or followed within the same scheme, host and port to paths that are listed."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from onex_mesh.effect.adapters.http.parameters import READING_METHODS, find_route
from onex_mesh.effect.core.kinds.http import HttpTarget
from onex_mesh.effect.core.kinds.http_paths import path_problem
from onex_mesh.runtime.errors import EffectFailedError

REDIRECTS_MAX = 5
_STATUSES = (301, 302, 303, 307, 308)


def next_url(
    name: str, target: HttpTarget, method: str, url: httpx.URL, status: int, headers: Mapping[str, str]
) -> httpx.URL | None:
    """Where a redirect leads; None for any other answer, and where the target refuses redirects.

    Only what reads is sent again: of anything else it would be unknown which of the two calls had the effect.

    Raises:
        EffectFailedError: It leads to another origin, or to a path that is not listed; nothing was sent there.
    """
    location = headers.get("location")
    if target.redirects == "refuse" or status not in _STATUSES or location is None or method not in READING_METHODS:
        return None
    try:
        there = url.join(location)
    except (httpx.InvalidURL, ValueError):
        raise _refused(name, status, "to what is no URL") from None
    if _origin(there) != _origin(url) or there.userinfo:
        raise _refused(name, status, "to another host")
    base_path = httpx.URL(target.base_url).raw_path.decode("ascii").rstrip("/")
    path = there.raw_path.decode("ascii").partition("?")[0]
    below = path.removeprefix(base_path) if path.startswith(f"{base_path}/") else ""
    # httpx resolves dots as it joins; what is judged is what would be sent.
    if not below or path_problem(below) or find_route(method, below, target) is None:
        raise _refused(name, status, "to a path that is not allowed")
    return there.copy_with(fragment=None)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _refused(name: str, status: int, where: str) -> EffectFailedError:
    return EffectFailedError(
        f"{name!r} answered {status}: a redirect {where} is not followed",
        error_context={"target": name, "status": status},
    )
