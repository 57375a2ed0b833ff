"""The table of figures: what | nocall | peer | ratio | goal | met."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass

_TITLES = ("what", "nocall", "peer", "ratio", "goal", "met")


@dataclass(frozen=True)
class Row:
    what: str
    nocall: str = ""
    peer: str = ""
    ratio: str = ""
    goal: str = ""
    met: str = ""


def rate(
    what: str,
    ours: float,
    peer: float | None,
    unit: str,
    *,
    least_ratio: float | None = None,
    least: float | None = None,
    trouble: str = "",
) -> Row:
    """A figure that should be high; `least_ratio` is against the peer, `least` absolute."""
    ratio = ours / peer if peer else None
    goal, met = "", ""
    if least_ratio is not None:
        goal = f">= {least_ratio:g} x"
        met = _met(ratio is not None and ratio >= least_ratio) if peer else "no peer"
    if least is not None:
        goal, met = f">= {amount(least)} {unit}", _met(ours >= least)
    return Row(
        what,
        f"{amount(ours)} {unit}",
        f"{amount(peer)} {unit}" if peer else "-",
        f"{ratio:.2f}" if ratio else "",
        goal,
        trouble or met,
    )


def latency(
    what: str, ours: float, peer: float | None, *, most: float | None = None, trouble: str = ""
) -> Row:
    """A figure in milliseconds that should be low; the ratio is ours over the peer's."""
    return Row(
        what,
        f"{ours:.2f} ms",
        f"{peer:.2f} ms" if peer else "-",
        f"{ours / peer:.2f}" if peer else "",
        f"<= {most:g} ms" if most is not None else "",
        trouble or (_met(ours <= most) if most is not None else ""),
    )


def amount(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value >= 1e4:
        return f"{value / 1e3:.1f} k"
    return f"{value:,.0f}"


def lines(rows: Iterable[Row]) -> list[str]:
    cells = [_TITLES, *(astuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_TITLES))]
    cells.insert(1, tuple("-" * width for width in widths))
    return [
        " | ".join(
            # Names and verdicts read from the left, figures line up on the right.
            cell.ljust(width) if column in (0, 4, 5) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def _met(reached: bool) -> str:
    return "yes" if reached else "NO"
