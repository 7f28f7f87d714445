"""Single values of contracts as people write them: numbers, texts, enum names, Base64, durations."""

from __future__ import annotations

import base64
import binascii
import datetime
import difflib
import math
import re

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from onex_mesh.runtime.violations import Violations, describe

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|s|m|h|d)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}


def duration_seconds(value: object) -> float | None:
    """The seconds of "5s", "250ms", "1m30s" or a number; None where the value is no duration."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) and value >= 0 else None
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if not isinstance(value, str):
        return None
    text = value.replace(" ", "")
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def read_scalar(
    field: FieldDescriptor, value: object, path: str, violations: Violations
) -> bool | int | float | str | bytes | None:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            if isinstance(value, str):
                return value
            quote = "; put it in quotes" if isinstance(value, int | float | datetime.date) else ""
            violations.add(path, f"expected text, found {describe(value)}{quote}")
        case FieldDescriptor.TYPE_BOOL:
            if isinstance(value, bool):
                return value
            violations.add(path, f"expected true or false, found {describe(value)}")
        case FieldDescriptor.TYPE_ENUM:
            return _enum(field.enum_type, value, path, violations)
        case FieldDescriptor.TYPE_DOUBLE | FieldDescriptor.TYPE_FLOAT:
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                return float(value)
            violations.add(path, f"expected a number, found {describe(value)}")
        case FieldDescriptor.TYPE_BYTES:
            return _bytes(value, path, violations)
        case _:
            low, high = _INTEGERS[field.type]
            if not isinstance(value, int) or isinstance(value, bool):
                violations.add(path, f"expected a whole number, found {describe(value)}")
            elif not low <= value <= high:
                violations.add(path, f"{value} is not within {low} to {high}")
            else:
                return value
    return None


def _enum(kind: EnumDescriptor | None, value: object, path: str, violations: Violations) -> int | None:
    assert kind is not None
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    names = {row.name.removeprefix(prefix): row.number for row in kind.values if row.number != 0}
    if not isinstance(value, str):
        violations.add(path, f"expected one of {', '.join(names)}, found {describe(value)}")
        return None
    name = value.upper().removeprefix(prefix)
    if name in names:
        return names[name]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}?" if close else f"one of {', '.join(names)}"
    violations.add(path, f"{value!r} is not known; {hint}")
    return None


def _bytes(value: object, path: str, violations: Violations) -> bytes | None:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            violations.add(path, "expected Base64 text")
            return None
    violations.add(path, f"expected Base64 text, found {describe(value)}")
    return None
