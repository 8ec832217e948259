"""What others have written does not stop the event loop: its time is limited."""

import re
import signal

import pytest

from hagane.api.cpu import TooLong, at_most
from hagane.identity.domain_config import fits


def test_what_takes_too_long_ends() -> None:
    with pytest.raises(TooLong), at_most(0.05):
        re.match("(a+)+b", "a" * 60)
    with pytest.raises(TooLong), at_most(0.05):
        while True:
            pass
    assert signal.getsignal(signal.SIGVTALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_what_is_quick_is_left_alone() -> None:
    with at_most(10.0):
        assert re.match("a+b", "aab")
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_no_password_stops_everybody() -> None:
    assert fits("(a+)+b", "aab")
    assert not fits("(a+)+b", "a" * 60)
