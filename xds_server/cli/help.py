"""The format of ``--help`` and of errors about options.

Options are listed under their headings, each text on lines of its own. Typer's tables leave the text 20
columns of an 80-column terminal, cut long words and read brackets as markup.
"""

import re
import textwrap
from typing import Any

import typer
from typer.core import TyperCommand

_ARGUMENTS = "Arguments"
_UNGROUPED = "Other options"
_INDENT = " " * 6
_OF_A_LIBRARY = re.compile(r"Input should be (.+?)(, unable to .*)?")


class Command(TyperCommand):
    """A command whose options are grouped by `rich_help_panel`, in the order of its signature."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Parse `args`. Errors do not contain phrases of the library that converts the values."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = _plain(error.message)
            raise
        except Exception as error:
            # An unknown option: the library lists every similar option, also those that only share a part.
            if similar := getattr(error, "possibilities", None):
                error.possibilities = similar[:1]  # type: ignore[attr-defined]
            raise

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write arguments and options to `formatter`, which is a HelpFormatter of click or of Typer."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            name, text = record
            heading = getattr(param, "rich_help_panel", None) or _UNGROUPED
            if param.param_type_name == "argument":
                name, heading = str(param.metavar), _ARGUMENTS
            groups.setdefault(heading, []).append((name, text))
        for heading, records in groups.items():
            with formatter.section(heading):
                for name, text in records:
                    formatter.write(f"  {name}\n{_wrapped(text, formatter.width)}\n")


def _plain(message: str) -> str:
    found = _OF_A_LIBRARY.fullmatch(message)
    return f"the value must be {found[1]}" if found else message.removeprefix("Value error, ")


def _wrapped(text: str, width: int) -> str:
    """The sentences, and on lines of their own the environment variable, the default and the range."""
    sentences, _, facts = text.replace("\\[", "[").rpartition("  [")  # some versions escape it
    parts = (sentences, f"[{facts}") if sentences else (text,)
    return "\n".join(_filled(each, width) for each in parts)


def _filled(text: str, width: int) -> str:
    return textwrap.fill(
        text,
        width,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def application(name: str, text: str, *, completion: bool) -> typer.Typer:
    """An application to which `commands` are added with ``command(name, cls=Command)``."""
    return typer.Typer(
        name=name,
        help=text,
        no_args_is_help=True,
        add_completion=completion,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
