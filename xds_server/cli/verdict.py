"""``xds-shadow verdict``: how a canary does, for people, CI jobs and hooks of deployments."""

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from xds_server.base.address import Address
from xds_server.base.errors import UsageError, XdsShadowError
from xds_server.cli.console import console
from xds_server.cli.options import Output, OutputOption, Server, server_address
from xds_server.core.workload_names import KINDS_IN_WORDS, kind_called
from xds_server.server.config import DEFAULT_ADMIN_ADDRESS

if TYPE_CHECKING:
    from xds_server.pb import status_pb2

EXIT_CODES: Final = {"NoWorse": 0, "Worse": 1, "TooEarly": 3, "Blind": 3}
TERMS: Final = "Terms"
WAITING: Final = "Waiting"
"""Headings of `--help`."""

_ERROR: Final = 2
_ASK_S: Final = 2.0
_LINE_S: Final = 10.0
"""In a pipe, a line about the same verdict is printed at most this often."""

_ENDS: Final = ("NoWorse", "Worse")

Wait = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="Wait until the verdict is NoWorse or Worse, at most as long as --for says.",
        rich_help_panel=WAITING,
    ),
]
For = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="TIME",
        help="With --wait: how long, such as 90s, 10m or 1h.",
        show_default="10m",
        rich_help_panel=WAITING,
    ),
]
MinPairs = Annotated[
    int | None,
    typer.Option(
        "--min-pairs",
        metavar="N",
        help="The least number of pairs for NoWorse.",
        show_default="1000",
        rich_help_panel=TERMS,
    ),
]
Tolerance = Annotated[
    str | None,
    typer.Option(
        "--tolerance",
        metavar="SHARE",
        help="The share of requests by which a canary may fail more often and still be NoWorse.",
        show_default="0.1%",
        rich_help_panel=TERMS,
    ),
]
Alpha = Annotated[
    str | None,
    typer.Option(
        "--alpha",
        metavar="SHARE",
        help="The chance that a canary that is no worse is ever called Worse, or a worse one ever NoWorse.",
        show_default="0.001",
        rich_help_panel=TERMS,
    ),
]


def verdict(
    shadow: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAMESPACE/[KIND/]NAME]",
            help="A workload with the label xds-shadow.io/shadow-of. Without it: all shadows.",
        ),
    ] = None,
    *,
    wait: Wait = False,
    wait_for: For = None,
    min_pairs: MinPairs = None,
    tolerance: Tolerance = None,
    alpha: Alpha = None,
    server: Server = DEFAULT_ADMIN_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell how a canary does, compared with the primary.

    A pair is the response of the primary and the response of the canary to one request. The verdict is one
    of:

    NoWorse: the canary does not fail more often, within the tolerance.
    Worse: it fails more often.
    TooEarly: the pairs do not tell yet.
    Blind: too few of the pairs arrived.

    Exit codes: 0 NoWorse, 1 Worse, 3 TooEarly or Blind, 2 an error. Without a name the exit code is 0.

    \b
    Examples:
      xds-shadow verdict
      xds-shadow verdict staging/myapp-canary
      xds-shadow verdict staging/myapp-canary --wait --for 15m
      xds-shadow verdict staging/myapp-canary --tolerance 1% -o json
    """
    with errors_exit_with_two("xds-shadow"):
        name = None if shadow is None else split(shadow)
        report(
            server_address(server),
            name,
            terms=terms_of(min_pairs, tolerance, alpha),
            for_s=waiting_time(name is not None, wait, wait_for),
            output=output,
        )


@contextlib.contextmanager
def errors_exit_with_two(program: str) -> Iterator[None]:
    """Exit with 2 after an error: 1 would mean `Worse`."""
    try:
        yield
    except XdsShadowError as error:
        typer.echo(f"{program}: {error}", err=True)
        raise typer.Exit(_ERROR) from error


def split(shadow: str) -> tuple[str, str, str]:
    """The namespace, the name and the kind in ``NAMESPACE/[KIND/]NAME``; the kind may be empty.

    Raises:
        UsageError: it has another form.
    """
    namespace, _, rest = shadow.partition("/")
    word, _, name = rest.rpartition("/")
    kind = kind_called(word)
    if namespace and name and word and not kind:
        raise UsageError(f"{shadow!r}: {word!r} is no kind of workload; kinds are {KINDS_IN_WORDS}")
    if not (namespace and name):
        raise UsageError(
            f"{shadow!r} is neither NAMESPACE/NAME nor NAMESPACE/KIND/NAME; examples are"
            " staging/myapp-canary and staging/statefulset/db-canary"
        )
    return namespace, name, kind or ""


def terms_of(min_pairs: int | None, tolerance: str | None, alpha: str | None) -> "status_pb2.Terms":
    """The terms that the options select.

    Raises:
        UsageError: a value is no number, or out of range.
    """
    from xds_server.pb import status_pb2
    from xds_server.server.terms import share
    from xds_server.server.verdict_messages import terms_of as checked

    terms = status_pb2.Terms()
    if min_pairs is not None:
        if min_pairs < 0:
            raise UsageError(f"--min-pairs {min_pairs} is below 0")
        terms.min_pairs = min_pairs
    if tolerance is not None:
        terms.tolerance = share(tolerance, "--tolerance")
    if alpha is not None:
        terms.alpha = share(alpha, "--alpha")
    checked(terms)
    return terms


def waiting_time(named: bool, wait: bool, wait_for: str | None) -> float:  # noqa: FBT001 - private to two commands
    """For how many seconds the options say to wait.

    Raises:
        UsageError: they contradict each other, or the time is invalid.
    """
    if not wait:
        if wait_for is not None:
            raise UsageError("--for says how long --wait waits; give both, or neither")
        return 0.0
    if not named:
        raise UsageError("--wait waits for the verdict on one shadow; give its name")
    text = wait_for or "10m"
    number, factor = text[:-1], {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    if not factor or not number.isdecimal() or not number.isascii() or not int(number):
        raise UsageError(f"--for {text!r} is not a time such as 90s, 10m or 1h")
    return float(int(number) * factor)


def report(
    server: Address,
    name: tuple[str, str, str] | None,
    *,
    terms: "status_pb2.Terms",
    for_s: float,
    output: Output,
) -> None:
    """Print the verdict on the shadow `name`, or on all, and exit as `EXIT_CODES` say.

    Raises:
        XdsShadowError: the control plane cannot be reached, or there is no such shadow.
    """
    from xds_server.server.status_client import get_verdicts
    from xds_server.server.verdict_display import verdict_view, verdicts_view

    if name is None:
        everything = get_verdicts(server, terms=terms)
        if output is Output.TABLE:
            console().print(verdicts_view(everything))
        else:
            _print(everything, output)
        return
    found = _waited(server, name, terms, for_s) if for_s else get_verdicts(server, *name, terms)
    [verdict] = found.verdicts
    if output is Output.TABLE:
        console().print(verdict_view(verdict, found.replicas))
    else:
        _print(found, output, single=True)
    raise typer.Exit(EXIT_CODES.get(verdict.verdict, _ERROR))


def _waited(
    server: Address, name: tuple[str, str, str], terms: "status_pb2.Terms", for_s: float
) -> "status_pb2.GetVerdictsResponse":
    """The verdict at the end of the time, or when it is final. Ctrl-C ends the waiting. A control plane that
    cannot be reached for a while, such as in a roll-out, is asked again."""
    from xds_server.server.status_client import get_verdicts
    from xds_server.server.verdict_display import progress

    ends = time.monotonic() + for_s
    found = get_verdicts(server, *name, terms)
    line = _Line()
    try:
        while found.verdicts[0].verdict not in _ENDS and (left := ends - time.monotonic()) > 0:
            line.show(progress(found.verdicts[0], left), found.verdicts[0].verdict)
            time.sleep(min(_ASK_S, left))
            try:
                found = get_verdicts(server, *name, terms)
            except XdsShadowError as error:
                line.show(str(error), "")
    except KeyboardInterrupt:
        pass
    finally:
        line.close()
    return found


class _Line:
    """The progress, on standard error: one line that changes on a terminal, or a line for each change."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last: tuple[str, float] | None = None

    def show(self, text: str, verdict: str) -> None:
        """Show a line about this verdict."""
        now = time.monotonic()
        if self._terminal:
            cut = text[: shutil.get_terminal_size().columns - 1]
            typer.echo(f"\r\x1b[K{cut}", err=True, nl=False)
        elif self._last is None or verdict != self._last[0] or now - self._last[1] >= _LINE_S:
            typer.echo(text, err=True)
            self._last = verdict, now

    def close(self) -> None:
        """Remove the line that changes."""
        if self._terminal:
            typer.echo("\r\x1b[K", err=True, nl=False)


def _print(found: "status_pb2.GetVerdictsResponse", output: Output, *, single: bool = False) -> None:
    import yaml

    from xds_server.server.plain import one_verdict, with_numbers

    data = one_verdict(found) if single else with_numbers(found)
    typer.echo(json.dumps(data, indent=2) if output is Output.JSON else yaml.safe_dump(data, sort_keys=False))
