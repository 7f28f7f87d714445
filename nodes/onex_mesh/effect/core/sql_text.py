"""SQL that an operator wrote, looked at closely enough to find its parameters and to refuse more than one statement.

It is not parsed: the database does that when the target is opened. What has to be known before is where text, quoted
names and comments begin and end, because a colon or a semicolon in them means nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PIECE = re.compile(
    r"""
      (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')
    | (?P<text>'(?:[^']|'')*')
    | (?P<name>"(?:[^"]|"")*"|`[^`]*`)
    | (?P<dollar>\$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$)
    | (?P<line>--[^\n]*)
    | (?P<block>/\*)
    | (?P<cast>::)
    | (?P<bind>(?<![\w\])]):(?P<parameter>[A-Za-z_]\w*))
    | (?P<word>[A-Za-z_]\w*)
    | (?P<open>['"`])
    | (?P<foreign>\$\d+)
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_OPAQUE = frozenset({"escaped", "text", "name", "dollar"})


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a statement."""

    text: str
    parameter: str = ""
    """Name of the parameter that stands here; empty for anything else."""


@dataclass(frozen=True, slots=True)
class SqlText:
    """One statement in pieces; comments are left out."""

    pieces: tuple[Piece, ...]
    verb: str
    """The first word, in capitals."""

    @property
    def parameters(self) -> frozenset[str]:
        """The names of the parameters."""
        return frozenset(piece.parameter for piece in self.pieces if piece.parameter)


def read_sql(sql: str) -> SqlText:
    """The pieces of a statement. A parameter is a colon and a name (`:order_id`); `::` is PostgreSQL's cast.

    Raises:
        ValueError: It is not one statement, or holds what cannot be bound by name.
    """
    pieces: list[Piece] = []
    verb = ""
    ended = False
    position = 0
    while position < len(sql):
        match = _PIECE.match(sql, position)
        assert match is not None, "the last alternative takes any character"
        kind = match.lastgroup or ""
        position = match.end()
        if kind == "block":
            position = _end_of_comment(sql, position)
        if kind in ("block", "line"):
            pieces.append(Piece(" "))
            continue
        if kind == "end":
            ended = True
            continue
        if ended and not match[0].isspace():
            raise ValueError("holds more than one statement")
        if kind == "open":
            raise ValueError(f"a quotation begins with {match[0]} and does not end")
        if kind == "foreign":
            raise ValueError(f"{match[0]}: parameters have names here, such as :order_id")
        if match[0] == "\x00":
            raise ValueError("holds a NUL character")
        if not verb and kind in _OPAQUE:
            raise ValueError(f"begins with {match[0][:20]}")
        verb = verb or (match[0].upper() if kind == "word" else "")
        pieces.append(Piece(match[0], match["parameter"] or ""))
    return SqlText(tuple(pieces), verb)


def _end_of_comment(sql: str, position: int) -> int:
    """Where a comment ends whose beginning was read; PostgreSQL nests them, and SQLite does no harm by it."""
    depth = 1
    for match in re.finditer(r"/\*|\*/", sql[position:]):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return position + match.end()
    raise ValueError("a comment begins with /* and does not end")
