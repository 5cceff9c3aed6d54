"""Numbers as people read them. Every number in the report passes through here once."""

from __future__ import annotations

from collections.abc import Sequence

from speedcore.stats.numbers import MINUS as MINUS
from speedcore.stats.numbers import signed as signed

NBSP = "\N{NO-BREAK SPACE}"
NONE = "\N{EN DASH}"


def percent(share: float | None, digits: int = 2) -> str:
    """0.9341 -> "93.41 %"."""
    return NONE if share is None else f"{100 * share:.{digits}f}{NBSP}%".replace("-", MINUS)


def spread(mean: float, sd: float | None, digits: int = 2) -> str:
    """Shares of 1 -> "93.41 ± 0.12 %"; without the ± for a single value."""
    if sd is None:
        return percent(mean, digits)
    return f"{100 * mean:.{digits}f}{NBSP}±{NBSP}{100 * sd:.{digits}f}{NBSP}%"


def points(difference: float | None, digits: int = 2) -> str:
    """A difference of shares in percentage points, always signed: "+0.42", "−0.10"."""
    return NONE if difference is None else signed(100 * difference, digits)


def decimal(value: float | None, digits: int = 2) -> str:
    return NONE if value is None else f"{value:.{digits}f}".replace("-", MINUS)


def bounds(low: float, high: float, digits: int = 2, scale: float = 1.0, sign: bool = False) -> str:
    """An interval: "93.20 to 93.61", which no minus sign can make unreadable."""
    one = signed if sign else decimal
    return f"{one(scale * low, digits)} to {one(scale * high, digits)}"


def seconds(value: float | None) -> str:
    """Three significant digits where that is honest: "0.42 s", "43.1 s", "984 s"."""
    if value is None:
        return NONE
    digits = 2 if value < 10 else 1 if value < 100 else 0
    text = f"{value:,.0f}" if value >= 10_000 else f"{value:.{digits}f}"
    return f"{text}{NBSP}s"


def duration(value: float) -> str:
    """"45 s", "12 min", "3 h 20 min"."""
    if value < 120:
        return f"{value:.0f}{NBSP}s"
    minutes = round(value / 60)
    if minutes < 120:
        return f"{minutes}{NBSP}min"
    hours, rest = divmod(minutes, 60)
    return f"{hours}{NBSP}h" + (f" {rest}{NBSP}min" if rest else "")


def count(value: int) -> str:
    return f"{value:,}"


def number(value: float) -> str:
    """The shortest form: "25", "2.5", "0.0339"."""
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def memory(size: int) -> str:
    return f"{size / 1e9:.2f}{NBSP}GB" if size >= 1e9 else f"{size / 1e6:.0f}{NBSP}MB"


def p_value(p: float) -> str:
    """"p = 0.031"; never "p = 0.000"."""
    return f"p{NBSP}<{NBSP}0.001" if p < 0.001 else f"p{NBSP}={NBSP}{p:.3f}"


def plural(n: int, one: str, many: str | None = None) -> str:
    """"1 seed", "3 seeds", "no seeds"."""
    words = one if n == 1 else (many or one + "s")
    return f"{'no' if n == 0 else count(n)}{NBSP}{words}"


def listing(items: Sequence[str], last: str = "and") -> str:
    """"a, b and c"."""
    items = list(items)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def vector(values: Sequence[float], digits: int = 4) -> str:
    """A value a channel: "0.4914, 0.4822, 0.4465"."""
    return ", ".join(f"{v:.{digits}f}" for v in values)
