from __future__ import annotations

import sys
import time

import pytest

from autonomics.errors import InvalidRecipe
from autonomics.recipes.pattern import compile_pattern


def test_named_groups_are_extracted_from_the_first_hit() -> None:
    pattern = compile_pattern(r"(?P<used>\d+) of (?P<limit>\d+)(?P<unit>Mi)?")

    assert pattern.extract("5 of 8, then 6 of 9") == {"used": "5", "limit": "8"}
    assert pattern.extract("nothing") == {}
    assert pattern.group_names == {"used", "limit", "unit"}


def test_a_pattern_takes_linear_time_on_what_makes_others_backtrack() -> None:
    pattern = compile_pattern(r"^(a+)+$")

    started = time.process_time()
    assert not pattern.is_found_in("a" * 5000 + "b")
    assert time.process_time() - started < 1


@pytest.mark.parametrize("text", ["", "(", r"(?=look)", r"\1", "x" * 1001])
def test_what_re2_does_not_take_is_refused(text: str) -> None:
    with pytest.raises(InvalidRecipe, match="expected pattern"):
        compile_pattern(text)


def test_without_re2_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)

    with pytest.raises(InvalidRecipe, match=r"pip install 'autonomics\[server\]'"):
        compile_pattern("x")


def test_patterns_are_equal_by_their_text() -> None:
    assert compile_pattern("x") == compile_pattern("x") != compile_pattern("y")
    assert len({compile_pattern("x"), compile_pattern("x")}) == 1
    assert repr(compile_pattern("x")) == "Pattern('x')"
