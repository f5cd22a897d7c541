"""``kubectl shadow``: the labels and annotations of a shadow by name, through the user's own kubectl.

It may do what its user may: every change is a line of kubectl, which ``--dry-run`` prints instead. What
became of it the control plane says, over a port-forward that is opened for the question, or at ``--server``.
"""

import contextlib
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.live import Live

from xds_server.base.address import Address, parse_address
from xds_server.base.errors import UsageError, XdsShadowError
from xds_server.core.keys import EXPOSE, PREFIX, SHADOW_OF
from xds_server.core.objects import WORKLOADS, Kind, kind_called
from xds_server.core.policy import NAMES, parse_policy
from xds_server.core.values import PolicyError
from xds_server.server.display import explanation_view, status_view
from xds_server.server.status_client import get_explanation, get_status

_EVERY_S: Final = 1.0
_FORWARDED: Final = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ")
_ADMIN_PORT: Final = 18080
_WIDTH: Final = 200

cli = typer.Typer(
    name="kubectl shadow",
    help="Copy a Service's live requests to a canary, and see what became of it.",
    no_args_is_help=True,
    add_completion=False,  # kubectl has its own, which asks `complete`
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="[KIND/]NAME",
        help="The canary: a Deployment, or such as statefulset/NAME (daemonset, replicaset, rollout).",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="As kubectl's.", show_default="that of the context"),
]
Kubeconfig = Annotated[Path | None, typer.Option(help="As kubectl's.", show_default=False)]
Context = Annotated[str | None, typer.Option(help="As kubectl's.", show_default=False)]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the lines of kubectl that do the same, and do nothing.")
]
Percent = Annotated[str | None, typer.Option(help="How many of the requests: 0 to 100.", show_default="all")]
Methods = Annotated[str | None, typer.Option(help="Only these, such as GET,HEAD.", show_default="all")]
Server = Annotated[
    str | None,
    typer.Option(
        envvar="XDS_SHADOW_SERVER",
        metavar="HOST:PORT",
        help="The control plane's --admin-address.",
        show_default="by a port-forward",
    ),
]
System = Annotated[str, typer.Option(help="Namespace of the control plane, for the port-forward.")]


class Kubectl:
    """The user's kubectl, with the options that say where."""

    def __init__(
        self, namespace: str | None = None, kubeconfig: Path | None = None, context: str | None = None
    ) -> None:
        where = (("--namespace", namespace), ("--kubeconfig", kubeconfig), ("--context", context))
        self._options = [f"{option}={value}" for option, value in where if value is not None]

    def line(self, *words: str) -> list[str]:
        return ["kubectl", *self._options, *words]

    def run(self, lines: Sequence[Sequence[str]], *, dry: bool) -> None:
        """One after another, with kubectl's own words; the first that fails is the end.

        Raises:
            typer.Exit: with the status of that one.
        """
        for line in lines:
            if dry:
                typer.echo(shlex.join(line))
                continue
            done = subprocess.run([binary(), *line[1:]], check=False)  # noqa: S603 - no shell
            if done.returncode:
                raise typer.Exit(done.returncode)

    def ask(self, *words: str) -> str:
        """What kubectl prints.

        Raises:
            XdsShadowError: it fails, with what it said.
        """
        command = [binary(), *self.line(*words)[1:]]
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            raise XdsShadowError(done.stderr.strip())
        return done.stdout


def binary() -> str:
    """kubectl on the PATH, which has just run this, else the one beside this Python.

    Raises:
        XdsShadowError: there is none.
    """
    beside = Path(sys.executable).with_name("kubectl")
    found = shutil.which("kubectl") or (str(beside) if beside.exists() else None)
    if not found:
        raise XdsShadowError("no kubectl found on the PATH")
    return found


@cli.command()
def start(
    name: Name,
    *,
    of: Annotated[str, typer.Option("--of", metavar="SERVICE", help="Whose requests it gets copies of.")],
    percent: Percent = None,
    methods: Methods = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help=f"Any annotation: {', '.join(NAMES)}; repeatable.",
            show_default=False,
        ),
    ] = None,
    expose: Annotated[
        bool, typer.Option("--expose", help="Have the Service routed by the Envoys too, if it is not yet.")
    ] = False,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    dry_run: DryRun = False,
) -> None:
    """Copy the requests of a Service to this workload."""
    kubectl = Kubectl(namespace, kubeconfig, context)
    said = {"percent": percent, "methods": methods}
    settings = [f"{key}={value}" for key, value in said.items() if value is not None] + (setting or [])
    lines = [kubectl.line("label", "service", of, f"{EXPOSE}=true", "--overwrite")] if expose else []
    # The label comes last: before the annotations are there it would copy more than was asked for.
    lines += [_annotate(kubectl, name, settings)] if settings else []
    lines.append(kubectl.line("label", *_words_of(name), f"{SHADOW_OF}={of}", "--overwrite"))
    kubectl.run(lines, dry=dry_run)


@cli.command()
def stop(
    name: Name,
    *,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    dry_run: DryRun = False,
) -> None:
    """Copy nothing to this workload any more. Its annotations stay."""
    kubectl = Kubectl(namespace, kubeconfig, context)
    kubectl.run([kubectl.line("label", *_words_of(name), f"{SHADOW_OF}-")], dry=dry_run)


@cli.command("set")
def set_(
    name: Name,
    settings: Annotated[
        list[str],
        typer.Argument(metavar="NAME=VALUE|NAME-", help=f"To set or to take away: {', '.join(NAMES)}."),
    ],
    *,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    dry_run: DryRun = False,
) -> None:
    """Change what is copied to this workload, and how."""
    kubectl = Kubectl(namespace, kubeconfig, context)
    kubectl.run([_annotate(kubectl, name, settings)], dry=dry_run)


@cli.command()
def status(
    *,
    server: Server = None,
    system: System = "xds-shadow-system",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Every shadow with its state and reason, every Envoy with its versions, every problem."""
    with _control_plane(server, Kubectl(system, kubeconfig, context)) as address:
        _print(status_view(get_status(address)))


@cli.command()
def top(
    *,
    server: Server = None,
    system: System = "xds-shadow-system",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """The same, again and again until Ctrl-C."""
    with (
        _control_plane(server, Kubectl(system, kubeconfig, context)) as address,
        contextlib.suppress(KeyboardInterrupt),
        Live(status_view(get_status(address))) as live,
    ):
        while True:
            time.sleep(_EVERY_S)
            live.update(status_view(get_status(address)))


@cli.command()
def explain(
    name: Name,
    *,
    namespace: Namespace = None,
    server: Server = None,
    system: System = "xds-shadow-system",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """One shadow from its label to the Envoys that carry it out."""
    if namespace is None:
        path = "jsonpath={..namespace}"
        namespace = Kubectl(None, kubeconfig, context).ask("config", "view", "--minify", "-o", path).strip()
    with _control_plane(server, Kubectl(system, kubeconfig, context)) as address:
        word, _, own = name.rpartition("/")
        kind = _kind_of(name) if word else ""
        _print(explanation_view(get_explanation(address, namespace or "default", own, kind)))


def _words_of(name: str) -> tuple[str, str]:
    """What kubectl is to be told of the canary: its kind, as it was given, and its name.

    Raises:
        UsageError: it is of a kind that cannot be a canary.
    """
    word, _, own = name.rpartition("/")
    _kind_of(name)
    return word or "deployment", own


def _kind_of(name: str) -> Kind:
    word, _, own = name.rpartition("/")
    kind = kind_called(word) if word else Kind.DEPLOYMENT
    if kind is None or not own:
        kinds = ", ".join(each.lower() for each in WORKLOADS)
        raise UsageError(f"{name!r} is neither NAME nor KIND/NAME; kinds are {kinds}")
    return kind


def _annotate(kubectl: Kubectl, name: str, settings: Sequence[str]) -> list[str]:
    """The line that sets these, or takes away those that end in ``-``.

    Raises:
        UsageError: one of them is no setting, or cannot be understood.
    """
    wanted: dict[str, str] = {}
    for each in settings:
        key, equals, value = each.partition("=")
        known = key if equals else key.removesuffix("-")
        if known not in NAMES or not (equals or key.endswith("-")):
            raise UsageError(f"{each!r} is neither NAME=VALUE nor NAME-; names are {', '.join(NAMES)}")
        if equals:
            wanted[PREFIX + key] = value
    try:
        parse_policy(wanted)
    except PolicyError as error:
        raise UsageError(str(error)) from error
    return kubectl.line("annotate", *_words_of(name), *(PREFIX + each for each in settings), "--overwrite")


@contextlib.contextmanager
def _control_plane(server: str | None, kubectl: Kubectl) -> Iterator[Address]:
    """Where the control plane answers: at `server`, else at the end of a port-forward.

    Raises:
        XdsShadowError: there is no port-forward to be had, with what kubectl said.
    """
    if server is not None:
        yield parse_address(server, option="--server")
        return
    command = [binary(), *kubectl.line("port-forward", "deployment/xds-shadow", f":{_ADMIN_PORT}")[1:]]
    forward = subprocess.Popen(  # noqa: S603 - no shell
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield _forwarded(forward)
    finally:
        forward.terminate()
        forward.communicate()


def _forwarded(forward: "subprocess.Popen[str]") -> Address:
    assert forward.stdout  # noqa: S101 - it is a pipe
    assert forward.stderr  # noqa: S101
    for line in forward.stdout:
        if found := _FORWARDED.match(line):
            return Address("127.0.0.1", int(found[1]))
    said = forward.stderr.read().strip()
    raise XdsShadowError(
        f"no port-forward to the control plane ({said}); give its --admin-address with --server"
    )


def _print(view: RenderableType) -> None:
    Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False).print(view)


def _guarded(run: Callable[[], Any]) -> None:
    try:
        run()
    except UsageError as error:
        _fail(error, 2)
    except XdsShadowError as error:
        _fail(error, 1)


def _fail(error: XdsShadowError, code: int) -> NoReturn:
    typer.echo(f"kubectl shadow: {error}", err=True)
    sys.exit(code)


def main() -> None:
    """Entry point of ``kubectl-shadow``, which kubectl finds on the PATH."""
    _guarded(cli)


def complete() -> None:
    """Entry point of ``kubectl_complete-shadow``, which kubectl's own completion asks: a line for each word
    that fits, and ``:4`` for "no files"."""
    *before, last = sys.argv[1:] or [""]
    for word in _words(before):
        if word.startswith(last):
            typer.echo(word)
    typer.echo(":4")


def _words(before: Sequence[str]) -> list[str]:
    commands = ["explain", "set", "start", "status", "stop", "top"]
    if not before:
        return commands
    command, *rest = before
    if command == "set" and rest:
        return [f"{name}=" for name in NAMES]
    if command in ("start", "stop", "explain", "set") and not rest:
        with contextlib.suppress(XdsShadowError):
            names = Kubectl().ask("get", "deployments,statefulsets,daemonsets", "-o", "name").splitlines()
            return [each.removeprefix("deployment.apps/").replace(".apps/", "/") for each in names]
    if rest and rest[-1] == "--of":
        with contextlib.suppress(XdsShadowError):
            found = Kubectl().ask("get", "services", "-o", "name")
            return [line.partition("/")[2] for line in found.splitlines()]
    return ["--of", "--percent", "--methods", "--set", "--expose", "--dry-run"] if command == "start" else []


if __name__ == "__main__":
    main()
