"""When a BIOS setting counts as what was asked for."""

import pytest

from hagane.reconcile.node_bios import is_so


@pytest.mark.parametrize(("shown", "wanted", "same"), [
    ("True", True, True), ("True", "enabled", True), ("True", "Yes", True), ("True", 1, True), ("True", "off", False),
    ("False", False, True), ("False", "disabled", True), ("False", "1", False),
    ("Enabled", "enabled", True), ("Enabled", "true", False), ("7", 7, True), ("", "Disabled", False),
])  # fmt: skip
def test_a_boolean_may_be_asked_for_in_several_words(shown: str, wanted: object, same: bool) -> None:
    assert is_so(shown, wanted) is same
