"""Templates of mails and notices: what they can, and what neither they nor their data can."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from onex_mesh.effect.adapters.templating.folder import TemplateFolder
from onex_mesh.effect.adapters.templating.sandbox import BoundedEnvironment
from onex_mesh.runtime.errors import PayloadTooLargeError, ValidationError
from onex_mesh.runtime.payload import Json

CHARS_MAX = 100_000
DATA: dict[str, Json] = {
    "name": "Ann",
    "order": {"id": "o-1", "items": [{"what": "tea", "price": 2.5}, {"what": "cup", "price": 10}]},
    "rows": list(range(100)),
    "long": "x" * 50_000,
}


def _folder(path: Path, source: str) -> tuple[TemplateFolder, BoundedEnvironment]:
    (path / "t.txt.j2").write_text(source, encoding="utf-8")
    folder = TemplateFolder(path)
    return folder, BoundedEnvironment(folder.sources, escapes=False)


def _render(path: Path, source: str, data: dict[str, Json] | None = None) -> str:
    folder, environment = _folder(path, source)
    return folder.part(environment, "t.txt.j2", source, "t").render(DATA if data is None else data, chars_max=CHARS_MAX)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ name|upper }} {{ name.lower() }}", "ANN ann"),
        ("{{ order.items|length }} {{ order['id'] }}", "2 o-1"),
        (
            "{% for item in order.items %}{{ loop.index }}/{{ loop.length }} {{ item.what }}\n{% endfor %}",
            "1/2 tea\n2/2 cup\n",
        ),
        ("{{ '%.2f'|format(order.items[0].price) }} {{ '%5d' % 3 }} {{ '100 %%' % () }}", "2.50     3 100 %"),
        ("{{ order.items|sum('price') }} {{ rows|max }} {{ 2 ** 10 }} {{ 'ab' * 2 + 'c' }}", "12.5 99 1024 ababc"),
        ("{{ order.items|map(attribute='what')|join(', ') }}", "tea, cup"),
        ("{{ name ~ ' ' ~ 7 ~ (1 ~ 2) }}", "Ann 712"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(1) }}{{ m('b') }}", "<1><b>"),
        ("{% set ns = namespace(n=0) %}{% for r in rows %}{% set ns.n = ns.n + r %}{% endfor %}{{ ns.n }}", "4950"),
        ("{% for a, b in {'x': 1}.items() %}{{ a }}{{ b }}{% endfor %}{{ range(3)|list }}", "x1[0, 1, 2]"),
        ("{{ name|replace('n', 'm') }} {{ 'a\nb'|indent(2) }} {{ rows|batch(3)|first }}", "Amm a\n  b [0, 1, 2]"),
        ("{{ [1, (2, 'x'), {'a': 3}] }} {{ 2 in [1, 2] }} {{ [1] + [2] }}", "[1, (2, 'x'), {'a': 3}] True [1, 2]"),
        ("{{ order['items']|last|tojson }} {{ (rows|first, 2)|join }}", '{"price": 10, "what": "cup"} 02'),
        ("{% if name is defined and missing is not defined %}yes{% endif %} {{ missing|default('-') }}", "yes -"),
    ],
)
def test_what_templates_can(tmp_path: Path, source: str, expected: str) -> None:
    """R90: loops, conditions, macros, numbers and the usual filters."""
    assert _render(tmp_path, source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "{{ name.__class__ }}",
        "{{ name.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ name|attr('__class__') }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ joiner.__init__.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ self.__init__.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ range.__init__ }}",
        "{% for x in rows %}{{ loop.__class__ }}{% endfor %}",
        "{% macro m() %}{% endmacro %}{{ m._func }}",
        "{{ '{0.__class__}'.format(name) }}",
        "{{ '{a.__class__}'.format_map({'a': 1}) }}",
        "{% set f = ''.format %}{{ f() }}",
        "{{ ['%s']|map('format', name.__class__)|list }}",
        "{{ name.encode() }}",
        "{{ rows.append(1) }}",
        "{{ order.clear() }}",
        "{{ order.__getitem__('id') }}",
        "{{ (1).__class__ }} {{ (1).to_bytes }}",
        "{{ config }}",
        "{{ request.environ }}",
        "{{ lipsum() }}",
        "{{ dict.fromkeys(rows) }}{{ dict.__base__ }}",
        "{{ ''.join(['a']) }}",
    ],
)
def test_no_way_into_python(tmp_path: Path, source: str) -> None:
    """R7, R18: neither attributes of Python nor what only some values would allow."""
    with pytest.raises(ValidationError):
        _render(tmp_path, source)


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(10**9) %}{% endfor %}",
        "{% for a in range(10**30) %}{% endfor %}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "{% for a in range(9999) %}{{ range(9999)|sum }}{% for b in range(9) %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
        "{% for a in rows recursive %}{{ loop(rows) }}{% endfor %}",
        "{% include 't.txt.j2' %}",
        "{% import 't.txt.j2' as t %}{{ t.x }}",
        "{% for a in range(9999) %}{% if long|upper == 'X' %}{% endif %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for a in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for a in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for a in range(60) %}{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}"
        "{% endfor %}",
        "{% set ns = namespace(s=[1]) %}{% for a in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(n=3) %}{% for a in range(60) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
        "{% set ns = namespace(s=1) %}{% for a in range(60) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s=1) %}{% for a in range(60) %}{% set ns.s = (ns.s, ns.s) %}{% endfor %}",
        "{% set ns = namespace(s=1) %}{% for a in range(60) %}{% set ns.s = {1: ns.s, 2: ns.s} %}{% endfor %}",
        "{% set ns = namespace(s=1) %}{% for a in range(60) %}{% set ns.s = dict(a=ns.s, b=ns.s) %}{% endfor %}",
        "{% set ns = namespace(s=1) %}{% for a in range(60) %}{% set ns.s = namespace(a=ns.s, b=ns.s) %}"
        "{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s=1) %}{% for a in range(60) %}{% set ns.s = [ns.s] * 9 %}{% endfor %}{{ ns.s|string }}",
        "{% set ns = namespace(s=[1]) %}{% for a in range(9) %}{% set ns.s = [ns.s] * 99 %}{% endfor %}{{ ns.s ~ '' }}",
        "{% set a = [[0] * 999] * 999 %}{{ a|tojson }}",
        "{% for a in range(9999) %}{% include ['gone', 't.txt.j2'] %}{% endfor %}",
        "{{ 'x' * 10**9 }}",
        "{{ 10**9 * 'x' }}",
        "{{ [0] * 10**9 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ 9 ** 9999 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%.999999999f'|format(1) }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '%(a)999999999s' % {'a': 1} }}",
        "{{ 'a'|indent(10**9) }}",
        "{{ 'a\nb'|indent(long * 2) }}",
        "{{ long|replace('x', long) }}",
        "{{ long|replace('', long) }}",
        "{{ rows|join(long) }}",
        "{{ rows|map('string')|join(long) }}",
        "{{ ['x']|map('replace', 'x', long)|map('replace', 'x', long)|join }}",
        "{{ [1]|batch(10**9, 'x')|list }}",
        "{{ [1]|slice(10**9, 'x')|list }}",
        "{% for a in range(3) %}{{ long }}{% endfor %}",
        "{{ long|urlencode|replace('x', '%20')|replace('%', long) }}",
    ],
)
def test_no_endless_work_and_no_flood(tmp_path: Path, source: str) -> None:
    """R18, R154: steps and text are bounded; what would be huge is refused before it is made."""
    tracemalloc.start()
    with pytest.raises((ValidationError, PayloadTooLargeError)):
        _render(tmp_path, source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32_000_000


def test_a_long_list_is_no_endless_work(tmp_path: Path) -> None:
    """R90: thousands of lines of data are rendered; ten times as many are refused with the reason."""
    source = "{% for row in rows %}{{ loop.index }} {{ row.what|upper }}: {{ '%.2f'|format(row.price) }}\n{% endfor %}"
    rows: list[Json] = [{"what": "tea", "price": 2.5}] * 3_000
    assert _render(tmp_path, source, {"rows": rows}).count("TEA: 2.50") == 3_000
    with pytest.raises(ValidationError, match="the template 't' needs more than 50000 steps"):
        _render(tmp_path, source, {"rows": rows * 10})


def test_constants_are_not_folded_into_floods(tmp_path: Path) -> None:
    """R18: the compiler, too, works within bounds, so that a bad template does not hang the start."""
    for source in (
        "{{ 'x' * 10**10 }}",
        "{{ ['x']|join|replace('x', 'y')|indent(10**10) }}",
        "{{ range(10**12)|list }}",
    ):
        folder, environment = _folder(tmp_path, source)
        folder.part(environment, "t.txt.j2", source, "t")


def test_data_is_text(tmp_path: Path) -> None:
    """R18: what looks like a template in the data is printed as it is."""
    evil = "{{ 7 * 7 }}{% raw %}{% include 'x' %}"
    assert _render(tmp_path, "{{ name }}", {"name": evil}) == evil


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("a\n\n{% for %}", r"t\.txt\.j2:3: "),
        ("a\n{{ x|center(3) }}", r"t\.txt\.j2:2: No filter named 'center'"),
        ("{{ x is strange }}", r"t\.txt\.j2:1: No test named 'strange'"),
        ("{% include 'gone.j2' %}", r"t\.txt\.j2: refers to 'gone\.j2', which is not there"),
        ("{% include '../../etc/passwd' %}", "which is not there"),
        ("{% extends '/etc/passwd' %}", "which is not there"),
    ],
)
def test_errors_have_file_and_line(tmp_path: Path, source: str, problem: str) -> None:
    """R18: told when the target opens."""
    folder, environment = _folder(tmp_path, source)
    with pytest.raises(ValidationError, match=problem):
        folder.part(environment, "t.txt.j2", source, "t")


def test_includes_are_of_the_folder_as_it_was_read(tmp_path: Path) -> None:
    """R17: files of sub-folders and those with an underscore are parts of others; a change on disk does nothing."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "foot.txt.j2").write_text("-- {{ name }}", encoding="utf-8")
    (tmp_path / "_head.txt.j2").write_text("Hello", encoding="utf-8")
    source = "{% include '_head.txt.j2' %} {% include 'parts/foot.txt.j2' %} {% include which %}"
    folder, environment = _folder(tmp_path, source)
    assert folder.names(".txt.j2") == ["t"]
    folder.check_others(environment, ".txt.j2")
    part = folder.part(environment, "t.txt.j2", source, "t")
    (tmp_path / "_head.txt.j2").write_text("Changed", encoding="utf-8")
    assert part.render({"name": "Ann", "which": "_head.txt.j2"}, chars_max=1_000) == "Hello -- Ann Hello"
    # A name that comes with the data finds nothing outside of the folder either.
    for name in ("../t.txt.j2", "/etc/passwd", "nowhere"):
        with pytest.raises(ValidationError, match="TemplateNotFound"):
            part.render({"name": "Ann", "which": name}, chars_max=1_000)


def test_a_part_that_is_wrong_is_told_too(tmp_path: Path) -> None:
    """R18: also one that no template includes by a fixed name."""
    (tmp_path / "_part.txt.j2").write_text("\n{% if %}", encoding="utf-8")
    folder, environment = _folder(tmp_path, "x")
    with pytest.raises(ValidationError, match=r"_part\.txt\.j2:2"):
        folder.check_others(environment, ".txt.j2")


def test_folders_that_cannot_be_read(tmp_path: Path) -> None:
    """R18: missing, not UTF-8, too large."""
    with pytest.raises(ValidationError, match="is not a folder of templates"):
        TemplateFolder(tmp_path / "nowhere")
    (tmp_path / "a.txt.j2").write_bytes(b"\xff")
    with pytest.raises(ValidationError, match=r"a\.txt\.j2: cannot be read: not UTF-8 text"):
        TemplateFolder(tmp_path)
    (tmp_path / "a.txt.j2").write_bytes(b"x" * 262_145)
    with pytest.raises(ValidationError, match=r"a\.txt\.j2: 262145 bytes are more than 262144"):
        TemplateFolder(tmp_path)
