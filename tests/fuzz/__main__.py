"""Fuzz one target, guided by coverage: ``python -m tests.fuzz TARGET [options of libFuzzer] [directories of corpus]``.

Needs atheris (``pip install -e '.[fuzz]'``). The coverage is that of the hot files in plain Python; a compiled build
gets the same bytes and must return the same.
``.ci/fuzz`` runs it with the compiled files built with sanitizers.
"""

from __future__ import annotations

import sys

import atheris
from atheris.import_hook import AtherisSourceFileLoader

from netconsd.build import COMPILED, KIND
from tests.fuzz.targets import OTHERS, TARGETS
from tests.support.compare_builds import AsImported
from tests.support.plain_build import PlainBuild


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer ends: at a failure, or at a limit of its options."""
    if len(arguments) < 2 or arguments[1] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz {{{','.join(TARGETS)}}} [-max_total_time=60] [DIRECTORY...]")
    plain = PlainBuild(*OTHERS, loader=lambda name, path: AtherisSourceFileLoader(name, path, True))
    print(f"Fuzzing {arguments[1]}: plain Python{f' and {KIND}' if COMPILED else ''}", file=sys.stderr)
    target = TARGETS[arguments[1]]([AsImported(), plain] if COMPILED else [plain])
    atheris.Setup([arguments[0], *arguments[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
