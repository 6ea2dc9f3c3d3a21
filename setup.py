"""The compiled part of netconsd: the hot files, and calls into C. Everything else is in setup.cfg.

NETCONSD_REQUIRE_EXTENSIONS=1 makes a build fail that cannot compile; NETCONSD_DISABLE_EXTENSIONS=1 builds plain Python.
NETCONSD_BUILD=debug checks bounds and traces lines, for coverage; NETCONSD_BUILD=sanitize adds the address and
undefined-behaviour sanitizers to the release build (.ci/build-sanitized), and NETCONSD_BUILD=races ThreadSanitizer
(.ci/free-threaded). A build that cannot compile one file is plain Python throughout.
"""

import os
from pathlib import Path

from setuptools import setup

REQUIRE = os.environ.get("NETCONSD_REQUIRE_EXTENSIONS") == "1"
DISABLE = os.environ.get("NETCONSD_DISABLE_EXTENSIONS") == "1"
BUILD = os.environ.get("NETCONSD_BUILD", "release")

HOT = (
    *(
        f"protocol.{name}"
        for name in (
            *("body", "counters", "decode", "legacy", "message", "neighbours", "rare_counters", "reassembly"),
            *("recency", "reorder", "seen", "stream", "table", "urgent", "window"),
        )
    ),
    "crash.prefilter",
    "crash.watch",
    "logger.append",
    "logger.lines",
    "store.boots",
    "store.cells",
    "store.columns",
    "store.normalise",
    "store.records",
    "store.repeats",
    "store.senders",
    "store.tallies",
    "store.trigrams",
    "streams.blocks",
    "streams.copies",
    "outputs.places",
)
# System calls for many datagrams at a time, and calls of modules in C.
CALLS = ("outputs._native", "receive._recvmmsg", "send._sendmmsg")
# Index loops over bytes: the code itself checks its indices. The debug build, where a negative index is an error, and
# the sanitizers, which see reads outside of an object, check the code.
UNCHECKED = (
    *("crash.watch", "protocol.decode", "protocol.recency", "protocol.seen", "protocol.urgent", "protocol.window"),
    "store.normalise",
)

OPTIONS = {
    "release": {"compile": ["-O2"], "link": []},
    "debug": {"compile": ["-O0", "-g", "-DCYTHON_TRACE_NOGIL=1"], "link": []},
    "sanitize": {
        "compile": ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover"],
        # Not linked with the sanitizers: LD_PRELOAD brings their library, gcc's for the tests, one with libFuzzer for
        # fuzzing, and two cannot be in one process.
        "link": [],
    },
    "races": {"compile": ["-O1", "-g", "-fsanitize=thread"], "link": ["-fsanitize=thread"]},
}[BUILD]


try:
    from Cython.Build import build_ext
    from Cython.Compiler.Options import get_directive_defaults
    from Cython.Distutils.extension import Extension
except ImportError:
    if REQUIRE:
        raise
    DISABLE = True
    build_ext = object


class BuildAllOrNone(build_ext):
    """Compiled and plain files know each other's insides, so they do not mix."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self):
        super().build_extensions()
        paths = [Path(self.get_ext_fullpath(extension.name)) for extension in self.extensions]
        if not all(path.exists() for path in paths):
            if REQUIRE:
                raise SystemExit("NETCONSD_REQUIRE_EXTENSIONS is set, and not everything could be compiled")
            for path in paths:
                path.unlink(missing_ok=True)
            self.extensions.clear()
            print("netconsd: nothing was compiled, so this is a build in plain Python")


def extension(name, suffix):
    """The extension netconsd.NAME, compiled from its .py or .pyx file."""
    unchecked = name in UNCHECKED
    return Extension(
        f"netconsd.{name}",
        [f"netconsd/{name.replace('.', '/')}{suffix}"],
        cython_directives={
            "language_level": 3,
            # Types are in the .pxd files alone: an annotation `int` is a Python int of any size.
            "annotation_typing": False,
            "freethreading_compatible": True,
            "boundscheck": BUILD == "debug" or not unchecked,
            "wraparound": not unchecked,
            "linetrace": BUILD == "debug",
        },
        include_dirs=["netconsd/include"],
        extra_compile_args=OPTIONS["compile"],
        extra_link_args=OPTIONS["link"],
        depends=["netconsd/include/netconsd.h"] if name == "outputs._native" else [],
        optional=not REQUIRE,
    )


if not DISABLE:
    # The extension types cannot be part of a reference cycle. Without the collector's header a sender costs two words
    # less, and a collection does not visit a million senders. As a decorator in a .pxd (Cython 3.3) it has no effect.
    get_directive_defaults()["no_gc"] = True
    # A fragment makes and drops some objects, whose memory is then kept for the next one: 4 % of its instructions.
    # Without the GIL, Cython keeps none.
    get_directive_defaults()["freelist"] = 8

setup(
    ext_modules=[]
    if DISABLE
    else [*(extension(name, ".py") for name in HOT), *(extension(name, ".pyx") for name in CALLS)],
    cmdclass={} if DISABLE else {"build_ext": BuildAllOrNone},
)
