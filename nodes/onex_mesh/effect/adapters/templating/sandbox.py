"""Jinja2 for texts of an operator with data of strangers: no way into Python, no endless loop, no flood.

On top of Jinja2's sandbox: a list of what may be called on plain values, filters that are known to be harmless, and a
budget that every loop, call, operator, filter and printed value draws on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType
from typing import Any, cast

import jinja2
from jinja2 import nodes, pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace
from markupsafe import Markup

from onex_mesh.effect.adapters.templating.budget import TooLargeError, budget, limited
from onex_mesh.effect.adapters.templating.limits import GROWTH, METHODS, check_operation, size_of

_RANGE_MAX = 10_000
_INCLUDE_COST = 200_000
"""As if an include worked on so many characters."""
_COMPILE_CHARS_MAX = 1_000_000
_EACH, _CONCAT = "onex_each", "onex_concat"
_FILTERS = """
    abs batch capitalize count d default dictsort e escape filesizeformat first float forceescape format groupby indent
    int items join last length list lower map max min reject rejectattr replace reverse round safe select selectattr
    slice sort string striptags sum title tojson trim truncate unique upper urlencode wordcount
"""

Escape = Callable[[str], str]


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """See the module.

    Args:
        sources: All templates, by the name under which others include them. They are read once, now.
        escape: How data becomes harmless in the format of these templates. None: plain text, nothing is escaped.
            Jinja2's own escaping of HTML follows where it is not enough.
    """

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, sources: Mapping[str, str], *, escapes: bool, escape: Escape | None = None) -> None:
        super().__init__(
            loader=jinja2.DictLoader(sources),
            autoescape=escapes,
            undefined=jinja2.StrictUndefined,
            finalize=functools.partial(_printed, escape=escape),
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self.globals = {"range": _range, "dict": dict, "namespace": Namespace, "cycler": Cycler, "joiner": Joiner}
        self.filters = {name: _counted(name, FILTERS[name]) for name in _FILTERS.split()}
        self.filters |= {_EACH: _each, _CONCAT: _concat}

    def compile(self, source: Any, name: str | None = None, filename: str | None = None, *args: Any) -> CodeType:  # type: ignore[override]  # the overloads for raw source are not needed
        """Compiles a template in which loops and `~` are counted, too."""
        with limited(_COMPILE_CHARS_MAX):
            tree = self.parse(source, name, filename) if isinstance(source, str) else source
            for loop in list(tree.find_all(nodes.For)):
                loop.iter = _filter(loop.iter, _EACH)
            for concat in list(tree.find_all(nodes.Concat)):
                concat.nodes = [_filter(nodes.List(concat.nodes, lineno=concat.lineno), _CONCAT)]
            tree.set_environment(self)
            return cast(CodeType, super().compile(tree, name, filename, *args))

    def get_template(self, name: Any, parent: str | None = None, globals: Any = None) -> jinja2.Template:  # noqa: A002  # the library's name
        """A template that another one includes, imports or extends."""
        budget().step(_INCLUDE_COST)
        return super().get_template(name, parent, globals)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A call within a template."""
        budget().step()
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operator within a template."""
        check_operation(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Of plain values only the methods that are listed; of Jinja2's own objects what its sandbox allows."""
        for kind, names in METHODS.items():
            if isinstance(obj, kind):
                return attr in names
        return super().is_safe_attribute(obj, attr, value)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`order.items` is the key of the data where it has one, and the method of the mapping otherwise."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def wrap_str_format(self, value: Any) -> None:
        """`str.format` is not offered: its widths are without bound. The filter `format` is."""
        return


def _filter(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _range(*args: int) -> range:
    numbers = range(*args)
    # len() of a huge range is an OverflowError of its own.
    if len(numbers) > _RANGE_MAX:
        raise TooLargeError(f"a range of more than {_RANGE_MAX}")
    return numbers


@pass_context
def _each(_: Context, items: Iterable[object]) -> Iterator[object]:
    """What a loop goes over, counted."""
    for item in items:
        budget().step()
        yield item


@pass_context
def _concat(context: Context, parts: list[object]) -> str:
    """`a ~ b`, counted."""
    texts = [part if isinstance(part, str) else str(part) for part in parts]
    budget().make(sum(len(text) for text in texts))
    if context.eval_ctx.autoescape and any(isinstance(text, Markup) for text in texts):
        return Markup("").join(texts)
    return "".join(texts)


def _printed(value: object, *, escape: Escape | None) -> object:
    """A value that is printed: counted, and escaped if its format has a way to."""
    if isinstance(value, jinja2.Undefined):
        return value
    text = value if isinstance(value, str) else str(value)
    budget().step(len(text))
    budget().make(len(text))
    if escape is not None and not isinstance(text, Markup):
        return Markup(escape(text))  # noqa: S704  # it was just escaped
    return text


def _counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that draws on the budget; `pass_context` and the like are kept."""
    position = 1 if hasattr(function, "jinja_pass_arg") else 0
    growth = GROWTH.get(name)

    @functools.wraps(function)
    def counted(*args: Any, **named: Any) -> Any:
        given = list(args)
        value = given[position]
        if growth is not None and not isinstance(value, str | list | tuple | dict | jinja2.Undefined):
            # Generators of map and select: as a list it is known how much they are.
            value = given[position] = list(value) if isinstance(value, Iterator) else value
        budget().step(size_of(value))
        if growth is not None and not isinstance(value, jinja2.Undefined):
            budget().make(growth(value, given[position + 1 :], named))
        return function(*given, **named)

    return counted
