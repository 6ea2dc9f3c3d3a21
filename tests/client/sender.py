"""The sender of the network, which runs the script."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from tests.client.frames import Parameter
from tests.client.network import Network
from tests.client.scripts import script


class Sender:
    """The sending machine.

    :param command: the command line of a shell.
    :param environment: NAME=VALUE for the shell.
    """

    def __init__(self, network: Network, command: Sequence[str], environment: Sequence[str] = ()) -> None:
        self._network = network
        self._command = command
        self._environment = environment

    def parameter(self, *arguments: str) -> Parameter:
        """The parameter that the script finds."""
        return Parameter.parse(self.output(*arguments).removesuffix("\n"))

    def output(self, *arguments: str) -> str:
        """The output of the script, which must succeed."""
        done = self._run(arguments)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    def refusal(self, *arguments: str) -> str:
        """The error of the script: one line."""
        done = self._run(arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("netconsd client: ")
        assert done.stderr.count("\n") == 1
        return done.stderr.removeprefix("netconsd client: ").removesuffix("\n")

    def _run(self, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return self._network.run(
            "sender", self._command, text=script("--print", *arguments), environment=self._environment
        )
