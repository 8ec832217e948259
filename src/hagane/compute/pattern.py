"""Regular expressions in filters, of the kind that cannot hold up the process.

A pattern comes from a user and runs on the event loop, so one that could take exponential time is refused: groups may
not be repeated, and there may be few repetitions and alternatives in groups. Plain text, by far the most common case,
is looked for as it is.
"""

import re
import warnings

from hagane.errors import Invalid
from hagane.state.table import Sql

MOST_REPEATS = 3
_PLAIN = re.compile(r"[^.^$*+?{}\[\]\\|()]*")


def condition(table: str, column: str, text: str, dialect: str) -> Sql:
    """Rows whose column holds a match. Raises Invalid."""
    name = f"match_{column}"
    if _PLAIN.fullmatch(text):
        return Sql(f"replace({table}.{column}, :{name}, '') != {table}.{column}" if text else "", {name: text})
    check(text)
    return Sql(f"{table}.{column} {'~' if dialect == 'postgresql' else 'REGEXP'} :{name}", {name: text})


def check(text: str) -> None:
    """Raises Invalid for what is no pattern, or one that could take too long."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # about what the two stores would read differently, as a class in a class
            re.compile(text)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        raise Invalid(f"Invalid regular expression {text!r}: {error}") from error
    bare = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "x", text)  # without escapes and classes
    if re.search(r"\\[1-9]", text) or "(?" in bare or re.search(r"\)[*+?{]", bare):
        raise Invalid(f"The regular expression {text!r} is not taken: groups may not be repeated or referred to.")
    choices = r"[*+?{|]" if "(" in bare else r"[*+?{]"  # alternatives in several groups multiply each other
    if len(re.findall(choices, bare)) > MOST_REPEATS:
        raise Invalid(f"The regular expression {text!r} is not taken: it leaves open more than {MOST_REPEATS} things.")
