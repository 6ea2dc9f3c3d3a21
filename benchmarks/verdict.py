"""Whether what came out is what it is to be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """A figure, and the most that it may be."""

    about: str
    figure: float
    limit: float

    @property
    def passed(self) -> bool:
        """Less than nothing is wrong, too: then something came that was not sent."""
        return 0 <= self.figure <= self.limit


def told(checks: list[Check]) -> int:
    """Print them, and return the status for the shell: 0 if all passed."""
    for check in checks:
        print(f"{'pass' if check.passed else 'FAIL'}  {check.about}: {check.figure:.10g}, at most {check.limit:.10g}")
    return 0 if all(check.passed for check in checks) else 1
