"""Runs the user's kubectl."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from xds_server.base.errors import UsageError, XdsShadowError
from xds_server.base.text import suggestion
from xds_server.core.annotations import NAMES
from xds_server.core.keys import PREFIX
from xds_server.core.objects import WORKLOADS, Kind
from xds_server.core.policy import parse_policy
from xds_server.core.values import PolicyError
from xds_server.core.workload_names import kind_called


class Kubectl:
    """kubectl with the options that select a cluster and a namespace."""

    def __init__(
        self, namespace: str | None = None, kubeconfig: Path | None = None, context: str | None = None
    ) -> None:
        where = (("--namespace", namespace), ("--kubeconfig", kubeconfig), ("--context", context))
        self._options = [f"{option}={value}" for option, value in where if value is not None]

    def command(self, *words: str) -> list[str]:
        """A command line, as one would type it."""
        return ["kubectl", *self._options, *words]

    def run(self, commands: Sequence[Sequence[str]], *, dry_run: bool) -> None:
        """Run the commands in order until one fails, or print them. kubectl writes to the terminal itself.

        Raises:
            typer.Exit: with the exit code of the command that failed.
        """
        for command in commands:
            if dry_run:
                typer.echo(shlex.join(command))
                continue
            done = subprocess.run([binary(), *command[1:]], check=False)  # noqa: S603 - no shell
            if done.returncode:
                raise typer.Exit(done.returncode)

    def output(self, *words: str) -> str:
        """The standard output of a command.

        Raises:
            XdsShadowError: the command fails; the message is kubectl's.
        """
        command = [binary(), *self.command(*words)[1:]]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            raise XdsShadowError(done.stderr.strip())
        return done.stdout

    def namespace(self) -> str:
        """The namespace of the context.

        Raises:
            XdsShadowError: the command fails.
        """
        return self.output("config", "view", "--minify", "-o", "jsonpath={..namespace}").strip() or "default"

    def annotate(self, name: str, settings: Sequence[str]) -> list[str]:
        """The command that sets each ``NAME=VALUE`` of `settings` on a workload and removes each ``NAME-``.

        Raises:
            UsageError: a setting is unknown, or its value is invalid.
        """
        wanted: dict[str, str] = {}
        for each in settings:
            key, equals, value = each.partition("=")
            known = key if equals else key.removesuffix("-")
            if known not in NAMES:
                raise UsageError(f"unknown annotation {known!r}; {suggestion(known, NAMES)}")
            if not (equals or key.endswith("-")):
                raise UsageError(f"{each!r} is neither NAME=VALUE nor NAME-")
            if equals:
                wanted[PREFIX + key] = value
        try:
            parse_policy(wanted)
        except PolicyError as error:
            raise UsageError(str(error)) from error
        return self.command("annotate", *resource(name), *(PREFIX + each for each in settings), "--overwrite")


def binary() -> str:
    """The path of kubectl: on the PATH, or beside this Python.

    Raises:
        XdsShadowError: there is no kubectl.
    """
    beside = Path(sys.executable).with_name("kubectl")
    found = shutil.which("kubectl") or (str(beside) if beside.exists() else None)
    if not found:
        raise XdsShadowError("kubectl was not found on the PATH")
    return found


def resource(name: str) -> tuple[str, str]:
    """The kind, as the user wrote it, and the name of a workload for kubectl.

    Raises:
        UsageError: the kind cannot be a canary.
    """
    word, _, own = name.rpartition("/")
    kind_of(name)
    return word or "deployment", own


def shadow_named(
    name: str, namespace: str | None, kubeconfig: Path | None, context: str | None
) -> tuple[str, str, str]:
    """The namespace, the name and the kind of a workload; the kind is empty if `name` has none. Without
    `namespace` it is that of the context.

    Raises:
        UsageError: the kind cannot be a canary.
    """
    word, _, own = name.rpartition("/")
    return namespace or Kubectl(None, kubeconfig, context).namespace(), own, kind_of(name) if word else ""


def service_name(text: str) -> str:
    """The name in ``[service/]NAME``, as `kubectl get -o name` prints it.

    Raises:
        UsageError: it names an object of another kind.
    """
    kind, _, name = text.rpartition("/")
    if kind.lower() not in ("", "service", "services", "svc") or not name:
        raise UsageError(f"--of {text!r} is neither NAME nor service/NAME of a Service")
    return name


def kind_of(name: str) -> Kind:
    """The kind of the workload ``[KIND/]NAME``.

    Raises:
        UsageError: the kind cannot be a canary.
    """
    word, _, own = name.rpartition("/")
    kind = kind_called(word) if word else Kind.DEPLOYMENT
    if kind is None or not own:
        kinds = ", ".join(each.lower() for each in WORKLOADS)
        raise UsageError(f"{name!r} is neither NAME nor KIND/NAME; kinds are {kinds}")
    return kind
