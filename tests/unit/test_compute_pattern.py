"""Regular expressions of users: what could take exponential time is refused before it runs."""

import pytest

from hagane.compute.pattern import check
from hagane.errors import Invalid


@pytest.mark.parametrize("text", ["^web-.*", "^(web|db)-[0-9]+$", "a|b|c|d|e|f", r"10\.0\.0\.1\d*"])
def test_common_patterns_are_taken(text: str) -> None:
    check(text)


@pytest.mark.parametrize("text", ["(a|aa)" * 30 + "x", "(a+)+x", ".*" * 4, r"(a)\1", "(?=a)", "(", "[[[[]]]]"])
def test_patterns_that_take_for_ever_or_mean_two_things_are_not(text: str) -> None:
    with pytest.raises(Invalid):
        check(text)
