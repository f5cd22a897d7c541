"""`--help` of every command is complete at 80 columns and grouped; errors about options are plain."""

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from xds_server.cli import cli, plugin

APPLICATIONS = {"xds-shadow": cli, "kubectl shadow": plugin.cli}


def commands_of(application: typer.Typer) -> dict[str, Any]:
    found: dict[str, Any] = typer.main.get_command(application).commands  # type: ignore[attr-defined]
    return found


CASES = [
    (program, name) for program, application in APPLICATIONS.items() for name in commands_of(application)
]


def printed(program: str, *arguments: str) -> str:
    found = CliRunner().invoke(APPLICATIONS[program], [*arguments, "--help"], env={"COLUMNS": "80"})
    assert found.exit_code == 0, found.output
    assert max(map(len, found.output.splitlines())) <= 80
    return found.output


@pytest.mark.parametrize(("program", "name"), CASES)
def test_every_text_is_complete(program: str, name: str) -> None:
    command = commands_of(APPLICATIONS[program])[name]
    words = printed(program, name).split()
    text = " ".join(words)
    assert " ".join(command.help.replace("\b", "").split()) in text
    for param in command.params:
        assert " ".join(param.help.split()) in text
        for option in param.opts if param.param_type_name == "option" else ():
            assert option in {word.rstrip(",") for word in words}
        if param.envvar and param.param_type_name == "option":
            assert all(each in text for each in [param.envvar, *param.envvar] if isinstance(each, str))
    assert "spiffe://example/gateway" in text or name != "serve"


@pytest.mark.parametrize(("program", "name"), CASES)
def test_every_option_has_a_heading(program: str, name: str) -> None:
    output = printed(program, name)
    assert output.count("\nOther options:\n") == 1
    [_, others] = output.split("\nOther options:\n")
    assert others.split() == ["-h,", "--help", "Show", "this", "message", "and", "exit."]


@pytest.mark.parametrize("program", APPLICATIONS)
def test_the_list_of_commands_has_whole_sentences(program: str) -> None:
    lines = printed(program).partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == list(commands_of(APPLICATIONS[program]))
    assert all(line.endswith(".") and not line.endswith("..") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "-o", "bad"], "'bad' is not one of 'table', 'json', 'yaml'."),
        (["serve", "--gateway-port", "0"], "the value must be greater than or equal to 1"),
        (["serve", "--gateway-port", "a"], "the value must be a valid integer"),
    ],
)
def test_an_error_about_a_value_has_no_phrase_of_a_library(arguments: list[str], message: str) -> None:
    found = CliRunner().invoke(cli, arguments)
    assert found.exit_code == 2
    [line] = [line for line in found.output.splitlines() if line.startswith("Error: ")]
    assert line.endswith(f"): {message}")
