"""Figures with their limits, and the verdict on them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """A figure and its limit."""

    about: str
    figure: float
    limit: float

    @property
    def passed(self) -> bool:
        """False for a negative figure too: more arrived than was sent."""
        return 0 <= self.figure <= self.limit


def verdict(checks: list[Check]) -> int:
    """Print the checks; return the exit status: 0 if all passed."""
    for check in checks:
        print(f"{'pass' if check.passed else 'FAIL'}  {check.about}: {check.figure:.10g}, at most {check.limit:.10g}")
    return 0 if all(check.passed for check in checks) else 1
