"""Windows as contracts ask for them."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from onex.v1 import reducer_pb2
from onex_mesh.reducer.core.windows import LateData, Window, WindowKind
from onex_mesh.runtime.errors import ValidationError

SIZE_US_MIN = 1_000
SIZE_US_MAX = 36_525 * 86_400 * 1_000_000
WINDOWS_OF_A_RECORD_MAX = 1_000

_AT = "reduction_config.window"
_KINDS = {
    reducer_pb2.WINDOW_KIND_TUMBLING: WindowKind.TUMBLING,
    reducer_pb2.WINDOW_KIND_SLIDING: WindowKind.SLIDING,
    reducer_pb2.WINDOW_KIND_SESSION: WindowKind.SESSION,
}
_LATE = {
    reducer_pb2.LATE_DATA_UNSPECIFIED: LateData.DROP,
    reducer_pb2.LATE_DATA_DROP: LateData.DROP,
    reducer_pb2.LATE_DATA_REFUSE: LateData.REFUSE,
    reducer_pb2.LATE_DATA_RETURN: LateData.RETURN,
}
_FIELDS = {
    WindowKind.TUMBLING: ("size",),
    WindowKind.SLIDING: ("size", "slide"),
    WindowKind.SESSION: ("gap",),
}


def window_of(config: reducer_pb2.WindowConfig) -> Window:
    """The windows that a contract asks for.

    Raises:
        ValidationError: They make no sense; with the path of what is wrong.
    """
    kind = _KINDS.get(config.kind)
    if kind is None:
        raise _refused("kind", f"must be TUMBLING, SLIDING or SESSION, not {int(config.kind)}")
    if not config.time_field:
        raise _refused("time_field", "is required and missing")
    if config.late_data not in _LATE:
        raise _refused("late_data", f"{int(config.late_data)} is none of DROP, REFUSE and RETURN")
    for name in ("size", "slide", "gap"):
        if config.HasField(name) != (name in _FIELDS[kind]):
            text = "is required and missing" if name in _FIELDS[kind] else "has no meaning"
            raise _refused(name, f"{text} for windows of the kind {kind.name}")
    if kind is WindowKind.SESSION and config.HasField("offset"):
        raise _refused("offset", "has no meaning for windows of the kind SESSION")
    sizes = {name: _length(getattr(config, name), name) for name in _FIELDS[kind]}
    size = sizes.get("size", sizes.get("gap", 0))
    slide = sizes.get("slide", 0 if kind is WindowKind.SESSION else size)
    if kind is WindowKind.SLIDING and not slide <= size <= slide * WINDOWS_OF_A_RECORD_MAX:
        raise _refused("slide", f"must be at most the size, and at least a {WINDOWS_OF_A_RECORD_MAX:,}th of it")
    lateness = _microseconds(config.allowed_lateness, "allowed_lateness")
    if not 0 <= lateness <= SIZE_US_MAX:
        raise _refused("allowed_lateness", "must be between 0 and 100 years")
    offset = _microseconds(config.offset, "offset")
    return Window(kind, config.time_field, size, slide, offset, lateness, _LATE[config.late_data])


def _length(duration: Duration, name: str) -> int:
    found = _microseconds(duration, name)
    if not SIZE_US_MIN <= found <= SIZE_US_MAX:
        raise _refused(name, "must be between 1 ms and 100 years")
    return found


def _microseconds(duration: Duration, name: str) -> int:
    nanoseconds = duration.seconds * 1_000_000_000 + duration.nanos
    if nanoseconds % 1_000:
        raise _refused(name, "must be whole microseconds")
    if abs(nanoseconds) > SIZE_US_MAX * 1_000:
        raise _refused(name, "must be within 100 years")
    return nanoseconds // 1_000


def _refused(name: str, text: str) -> ValidationError:
    at = f"{_AT}.{name}"
    return ValidationError(f"{at}: {text}", violations=((at, text),))
