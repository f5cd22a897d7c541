"""The file of --policy: understood whole, or the start fails and says why."""

from pathlib import Path

import pytest

from xds_server.base.errors import UsageError
from xds_server.core.layers import NO_FILE
from xds_server.manifests.policy_file import read_policy


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


def rejection(file: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_policy(file)
    return str(caught.value)


def test_settings_are_texts_as_written(file: Path) -> None:
    file.write_text('percent-max: 010\ntimeout: "5s"\npaused: false\nmethods-allowed: GET,HEAD # reads\n')
    policy = read_policy(file)
    assert policy.values == {
        "percent-max": "010",
        "timeout": "5s",
        "paused": "false",
        "methods-allowed": "GET,HEAD",
    }
    assert policy.called("timeout") == f"timeout of the policy file {file}"


def test_no_file_and_one_of_comments_set_nothing(file: Path) -> None:
    assert read_policy(None) is NO_FILE
    file.write_text("# nothing yet\n")
    assert read_policy(file).values == {}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "the file is empty; without settings leave out --policy"),
        ("- percent-max", 'write settings one a line, such as percent-max: "10"'),
        ("percent-max", 'write settings one a line, such as percent-max: "10"'),
        (
            "methods-allowed: [GET, HEAD]",
            "methods-allowed: write its value as a string, such as methods: GET,HEAD",
        ),
        ("[a, b]: c", "this is not valid YAML"),
        ("percent: {a: b}", "percent: write its value as a string, such as methods: GET,HEAD"),
        ("xds-shadow.io/percent: 1", "xds-shadow.io/percent: write it without xds-shadow.io/"),
        ("percent: 10: 20", "this is not valid YAML: "),
        (
            "a: 1\npercent: 1\npercent: 2",
            "this is not valid YAML: line 3, column 1: the key 'percent' is repeated",
        ),
        ("a: &a " + "[" * 101, "this is not valid YAML: it nests more than 100 levels deep"),
        ("a: &a [" + "x," * 99 + "]\nb: [" + "*a," * 1000 + "]", "a: write its value as a string"),
        (
            "a: &a [" + "x," * 99 + "]\nb: [" + "*a," * 1001 + "]",
            "this is not valid YAML: its aliases expand to",
        ),
        ("percent: lots", "percent: 'lots' is not a percentage"),
        ("percent-max: lots", "percent-max: 'lots' is not a percentage"),
        ("percnt: 1", "percnt is not known here; did you mean percent?"),
        ("colour: red", "colour is not known here; known are baseline, "),
        ("endpoints-from: service/a", "endpoints-from is not known here"),
        ("percent: 50\npercent-max: 10", "percent: '50': the maximum is 10 (percent-max)"),
        ("redact: form:a\nmax-body: 1Mi", "redact parses bodies of up to 256Ki"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(file: Path, text: str, wrong: str) -> None:
    file.write_text(text)
    assert rejection(file).startswith(f"--policy {file}: {wrong.format(file)}")


def test_a_file_that_cannot_be_read_says_so(file: Path, tmp_path: Path) -> None:
    assert rejection(file) == f"--policy {file}: No such file or directory"
    assert rejection(tmp_path) == f"--policy {tmp_path}: Is a directory"
    file.write_bytes(b"\xff\xfe\x00")
    assert rejection(file).startswith(f"--policy {file}: this is not valid YAML")


def test_a_file_that_is_too_large_is_not_read(file: Path) -> None:
    file.write_text("#" * 65_537)
    assert rejection(file) == f"--policy {file}: it has 65537 bytes, and 65536 are the most"
