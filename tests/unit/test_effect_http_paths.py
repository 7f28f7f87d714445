"""Path templates of HTTP targets, and the paths that belong to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex_mesh.effect.core.kinds.http_paths import PathParameter, PathTemplate, path_problem


@pytest.mark.parametrize(
    ("template", "path", "matches"),
    [
        ("/orders", "/orders", True),
        ("/orders", "/orders/", False),
        ("/orders", "/orders/7", False),
        ("/orders/", "/orders/", True),
        ("/orders/{id}", "/orders/7", True),
        ("/orders/{id}", "/orders/a%20b", True),
        ("/orders/{id}", "/orders/", False),
        ("/orders/{id}", "/orders/7/lines", False),
        ("/orders/{id}/lines", "/orders/7/lines", True),
        ("/orders/{id}:cancel", "/orders/7:cancel", True),
        ("/orders/{id}:cancel", "/orders/:cancel", False),
        ("/orders/{id}:cancel", "/orders/7", False),
        ("/**", "/", True),
        ("/**", "/a/b/c", True),
        ("/orders/**", "/orders", True),
        ("/orders/**", "/orders/", True),
        ("/orders/**", "/orders/7/lines", True),
        ("/orders/**", "/orders-old", False),
        ("/orders/**", "/customers", False),
        ("/orders/{id}/**", "/orders", False),
        ("/orders/{id}/**", "/orders/7", True),
    ],
)
def test_which_paths_belong_to_a_template(template: str, path: str, matches: bool) -> None:
    """R7: whole segments; a parameter is one of them or its middle; `**` is everything below."""
    assert PathTemplate(template).match(path, {}) == matches


@pytest.mark.parametrize(
    "template",
    ["orders", "", "//x", "/a//b", "/a/../b", "/./a", "/{a}/{a}", "/{a}{b}", "/{", "/a b", "/a%2f", "/{a-b}", "/a**"],
)
def test_what_is_no_template(template: str) -> None:
    """R17: told when the file is read."""
    with pytest.raises(ValueError, match=r"does not begin|segment|twice"):
        PathTemplate(template)


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ({"type": "integer"}, ["0", "-7", "9223372036854775807"], ["", "7.0", "1e3", "+7", "٧", "1" * 20]),
        (
            {"type": "uuid"},
            ["6fa459ea-ee8a-3ca4-894e-db77e160355e"],
            ["6fa459eaee8a3ca4894edb77e160355e", "----6fa459eaee8a3ca4894edb77e160355e", "x" * 36],
        ),
        ({"type": "date"}, ["2026-02-28"], ["2026-02-30", "20260228", "2026-2-28", "2026-W01-1"]),
        ({"pattern": "[a-z]+"}, ["abc"], ["abc1", "ABC", "abc\n"]),
        ({"length_max": 3}, ["abc"], ["abcd"]),
        (
            {},
            ["a b", "ä", "a;b", "...", "a.b"],
            ["", ".", "..", "..;x", "a/b", "a\\b", "a\x00", "a\r\nb", "%2e", "a\x85"],
        ),
    ],
)
def test_what_a_parameter_may_be(rule: dict[str, object], good: list[str], bad: list[str]) -> None:
    """R7, R18: its type, its pattern, its length; never anything that leaves its segment."""
    parameter = PathParameter.model_validate(rule)
    assert [text for text in good if parameter.problem(text)] == []
    assert [text for text in bad if not parameter.problem(text)] == []
    template = PathTemplate("/x/{p}/y")
    assert all(template.match(template.fill({"p": text}), {"p": parameter}) for text in good)


@given(st.text(max_size=50))
def test_a_filled_template_is_a_path_of_it(text: str) -> None:
    """R7: whatever passes for a parameter, the path stays three segments long and within the template."""
    template = PathTemplate("/x/{p}/y")
    if not list(template.problems({"p": text}, {})):
        path = template.fill({"p": text})
        assert path_problem(path) == ""
        assert path.count("/") == 3
        assert template.match(path, {})


@given(st.text(alphabet="/.%25eEfF;a\\{}*~\r\n", max_size=30))
def test_no_path_climbs(tail: str) -> None:
    """R7: a path without a problem resolves to itself, also after it is decoded."""
    path = f"/{tail}"
    if path_problem(path) == "":
        segments = path.split("/")[1:]
        assert not {".", ".."} & set(segments)
        assert "" not in segments[:-1]
        assert not any(character in path for character in "\\\r\n")


def test_parameters_that_are_missing_or_unknown() -> None:
    """R18: both are told."""
    template = PathTemplate("/orders/{id}/lines/{line}")
    assert sorted(template.problems({"id": "7", "other": "x"}, {})) == [
        ("line", "is required"),
        ("other", "/orders/{id}/lines/{line} has no such parameter"),
    ]
