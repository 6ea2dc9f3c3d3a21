"""The receivers to compare: this checkout, an earlier revision, the C daemon. Their options, and building them."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import builds
from benchmarks.measure import Place, processors
from benchmarks.scenarios import Build

HERE = Path(__file__).parent


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that :func:`prepared` reads."""
    parser.add_argument("--against", metavar="REV", help="also measure this revision of the repository, in turn")
    parser.add_argument("--peer", type=Path, metavar="PATH", help="also measure the C daemon, where scenarios allow it")
    parser.add_argument("--no-pin", action="store_true", help="let sender and receiver run on any processor")


@contextmanager
def prepared(options: argparse.Namespace, used: set[Build], show: Callable[[str], object]) -> Iterator[Place]:
    """Build everything in a temporary directory.

    :raises CannotBuildError: if something cannot be built, or there is no such revision.
    """
    revision = builds.short_name(options.against) if options.against else None
    if options.peer and not options.peer.is_file():
        raise builds.CannotBuildError(f"--peer: there is no file {options.peer}")
    sender_cpus, receiver_cpus = processors(not options.no_pin)
    with tempfile.TemporaryDirectory(prefix="netconsd-benchmarks-") as name:
        directory = Path(name)
        show("building")
        trees: dict[str, Path] = {build: builds.checkout(build, directory / build) for build in sorted(used)}
        if revision:
            for build in sorted(used):
                tree = directory / f"{build}-{revision}"
                trees[f"{build} {revision}"] = builds.revision(revision, build, tree)
        module = directory / "peer.so"
        yield Place(
            directory=directory,
            blast=builds.c_program(HERE / "blast.c", directory / "blast"),
            floor=builds.c_program(HERE / "floor.c", directory / "floor"),
            trees=trees,
            sender_cpus=sender_cpus,
            receiver_cpus=receiver_cpus,
            peer=options.peer.resolve() if options.peer else None,
            peer_module=builds.c_program(HERE / "peer.c", module, "-shared", "-fPIC") if options.peer else None,
        )


def show(text: str) -> None:
    """Show the current step, on a terminal only, in a line that the next one overwrites."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
