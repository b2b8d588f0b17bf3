"""What siege.py says of a run: a few lines for people, and why it is no success."""

from __future__ import annotations

import statistics
from typing import Any, Final

from tests.support import swarm

GOAL: Final = 1.5
Figures = dict[str, Any]


def ratios(figures: Figures) -> list[float]:
    """How many times longer the slowest hundredth waited under siege, round by round."""
    return [one["with"]["ms"]["p99"] / max(one["without"]["ms"]["p99"], 1e-9) for one in figures["rounds"]]


def wrong_answers(row: Figures) -> list[str]:
    """What was answered to an attack and not promised, a line each."""
    if not row["answers"]:
        return [f"row {row['row']}, {row['name']}: was never carried out"]
    promised = " or ".join(row["promised"])
    return [
        f"row {row['row']}, {row['name']}: {count} x {answer!r} where {promised!r} is promised"
        for answer, count in row["answers"].items()
        if answer not in row["promised"]
    ]


def failures(figures: Figures) -> list[str]:
    """Why a run is no success, a line each; none when it is. How long anything took is no reason."""
    honest = figures["honest"]
    lines = [line for row in figures["rows"] for line in wrong_answers(row)]
    lines += swarm.failures(honest)
    if honest["losses"]:
        lines.append(f"honest connections lost: {honest['losses']}, such as {honest['loss_reasons'][0]}")
    if not figures["server_lives"]:
        lines.append("the server ended")
    lines += [f"{name}: {figures[name]}" for name in ("tracebacks", "tokens_in_log") if figures[name]]
    return lines


def describe(figures: Figures) -> str:
    """The lines for people."""
    honest = figures["honest"]
    return "\n".join(
        (
            *(_round(number, one) for number, one in enumerate(figures["rounds"], 1)),
            _goal(ratios(figures)),
            f"  delivered {honest['delivered_percent']:.3f} % of {honest['expected']:,}; "
            f"{honest['duplicates']} duplicates, {honest['reorderings']} reorderings, "
            f"{honest['losses']} honest connections lost",
            *map(_row, figures["rows"]),
            *(f"  FAILED {line}" for line in failures(figures)),
        )
    )


def _round(number: int, one: Figures) -> str:
    attack = one["with"]["attack"]
    return "\n".join(
        (
            f"round {number}: {attack['most_at_once']} attacks at once; attackers busy {attack['busy_percent']:.0f} %",
            *(f"  {name:7} {_phase(one[name])}" for name in ("without", "with")),
        )
    )


def _phase(phase: Figures) -> str:
    times, late = phase["ms"], phase["honest_late_ms"]
    return (
        f"p50 {times['p50']:.2f} ms, p99 {times['p99']:.2f} ms, max {times['max']:.1f} ms of {times['count']:,}; "
        f"server busy {phase['server_busy_percent']:.0f} %, {phase['server_megabytes']:.0f} MB; "
        f"honest busy {phase['honest_busy_percent']:.0f} %, its timers late by p99 {late['p99']:.2f} ms"
    )


def _goal(found: list[float]) -> str:
    middle = statistics.median(found)
    reached = "reached" if middle <= GOAL else "not reached"
    spread = f"{min(found):.2f}-{max(found):.2f}"
    return f"  p99 under siege: {middle:.2f}x ({spread}) of that without; goal {GOAL:g}x: {reached}"


def _row(row: Figures) -> str:
    answers = ", ".join(f"{count:,} x {answer}" for answer, count in row["answers"].items())
    return f"  row {row['row']:2} {row['name']}: {answers or 'never'}"
