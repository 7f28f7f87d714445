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
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from onex_mesh.effect.adapters.templating.budget import TooLargeError, budget, limited
from onex_mesh.effect.adapters.templating.limits import GROWTH, METHODS, check_operation, size_of
from onex_mesh.effect.adapters.templating.weight import weigh

_RANGE_MAX = 10_000
_INCLUDE_COST = 200_000
"""As if an include worked on so many characters."""
_COMPILE_CHARS_MAX = 1_000_000
_EACH, _CONCAT, _BUILT = "onex_each", "onex_concat", "onex_built"
_FILTERS = """
    abs batch capitalize count d default dictsort e escape filesizeformat first float forceescape format groupby indent
    int items join last length list lower map max min reject rejectattr replace reverse round safe select selectattr
    slice sort string striptags sum title tojson trim truncate unique upper urlencode wordcount
"""

_OF_ANYTHING = """
    batch count d default dictsort first groupby items last length list map max min reject rejectattr reverse select
    selectattr slice sort sum unique
"""
"""Those that do not make text of what they are given."""

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
        self.globals = {"range": _range, "dict": _dict, "namespace": Namespace, "cycler": Cycler, "joiner": Joiner}
        self.filters = {name: _counted(name, FILTERS[name]) for name in _FILTERS.split()}
        self.filters |= {_EACH: _each, _CONCAT: _concat, _BUILT: _built}

    def compile(self, source: Any, name: str | None = None, filename: str | None = None, *args: Any) -> CodeType:  # type: ignore[override]  # the overloads for raw source are not needed
        """Compiles a template in which loops, `~`, lists and mappings are counted, too."""
        with limited(_COMPILE_CHARS_MAX):
            tree = self.parse(source, name, filename) if isinstance(source, str) else source
            counted = cast(nodes.Template, _Counting().visit(tree))
            counted.set_environment(self)
            return cast(CodeType, super().compile(counted, name, filename, *args))

    def get_template(self, name: Any, parent: str | None = None, globals: Any = None) -> jinja2.Template:  # noqa: A002  # the library's name
        """A template that another one includes, imports or extends."""
        budget().step(_INCLUDE_COST)
        return super().get_template(name, parent, globals)

    def select_template(self, names: Any, parent: str | None = None, globals: Any = None) -> jinja2.Template:  # noqa: A002  # likewise
        """The first of some templates that is there."""
        budget().step(_INCLUDE_COST)
        return super().select_template(names, parent, globals)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A call within a template."""
        budget().step()
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operator within a template."""
        check_operation(operator, left, right)
        made = super().call_binop(context, operator, left, right)
        if isinstance(made, list | tuple):
            weigh(made)
        return made

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


class _Counting(NodeTransformer):
    """Puts the filters below around what a template goes over and builds."""

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.iter = _filter(cast(nodes.Expr, node.iter), _EACH)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), _CONCAT)

    def visit_List(self, node: nodes.List) -> nodes.Expr:
        self.generic_visit(node)
        return _filter(node, _BUILT)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Expr:
        self.generic_visit(node)
        return _filter(node, _BUILT)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:
        self.generic_visit(node)
        return _filter(node, _BUILT) if node.ctx == "load" else node


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
def _built(_: Context, value: object) -> object:
    """A list, tuple or mapping that the template writes down, counted with all that is in it."""
    weigh(value)
    return value


def _dict(*args: Any, **named: Any) -> dict[object, object]:
    made: dict[object, object] = dict(*args, **named)
    weigh(made)
    return made


@pass_context
def _concat(context: Context, parts: list[object]) -> str:
    """`a ~ b`, counted."""
    budget().make(weigh(parts))
    texts = [part if isinstance(part, str) else str(part) for part in parts]
    if context.eval_ctx.autoescape and any(isinstance(text, Markup) for text in texts):
        return Markup("").join(texts)
    return "".join(texts)


def _printed(value: object, *, escape: Escape | None) -> object:
    """A value that is printed: counted, and escaped if its format has a way to."""
    size = weigh(value)
    budget().step(size)
    budget().make(size)
    if isinstance(value, jinja2.Undefined):
        return value
    text = value if isinstance(value, str) else str(value)
    if escape is not None and not isinstance(text, Markup):
        return Markup(escape(text))  # noqa: S704  # it was just escaped
    return text


def _counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that draws on the budget; `pass_context` and the like are kept."""
    position = 1 if hasattr(function, "jinja_pass_arg") else 0
    growth = GROWTH.get(name)
    makes_text = name not in _OF_ANYTHING.split()

    @functools.wraps(function)
    def counted(*args: Any, **named: Any) -> Any:
        given = list(args)
        value = given[position]
        if growth is not None and not isinstance(value, str | list | tuple | dict | jinja2.Undefined):
            # Generators of map and select: as a list it is known how much they are.
            value = given[position] = list(value) if isinstance(value, Iterator) else value
        budget().step(size_of(value))
        if makes_text:
            for item in (value, *given[position + 1 :], *named.values()):
                weigh(item)
        if growth is not None and not isinstance(value, jinja2.Undefined):
            budget().make(growth(value, given[position + 1 :], named))
        return function(*given, **named)

    return counted
