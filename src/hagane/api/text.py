"""What of a text Python would read as a number or an address, but nobody else."""


def natural(text: str) -> int | None:
    """A number of zero or more in plain digits, or None. What no column could hold is 10**18."""
    if not (text.isascii() and text.isdigit()):
        return None
    return int(text) if len(text) <= 18 else 10**18


def unscoped(value: object) -> str:
    """Text to read an address from. A scope id (`fe80::1%eth0`), in which Python lets stand anything, is none of ours:
    addresses become parts of expressions. Raises ValueError."""
    if not isinstance(value, str) or "%" in value:
        raise ValueError(value)
    return value
