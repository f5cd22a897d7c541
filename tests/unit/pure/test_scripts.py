"""The scripts of a shadow cluster: what a user wrote is only ever a quoted text in them.

What they do is tested where they run, on an Envoy (tests/envoy/policy).
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.shadows.terms import FormField, JsonPointer, PathPrefix, Rewrite
from xds_server.translate.scripts import change, pace, quoted

_STRING = re.compile(r'"(?:[A-Za-z0-9 _./:*-]|\\[0-9]{3})*"')
HOSTILE = 'a"] = 1}; os.exit() --[[\n\\"]]\x00ä'


@given(st.text())
def test_a_text_is_one_lua_string_of_harmless_characters(text: str) -> None:
    found = quoted(text)
    assert _STRING.fullmatch(found)
    plain = re.sub(r"\\([0-9]{3})", lambda match: chr(int(match.group(1))), found[1:-1])
    assert plain.encode("latin-1").decode() == text


@pytest.mark.parametrize("redaction", [JsonPointer((HOSTILE, "*")), FormField(HOSTILE)])
def test_what_a_user_wrote_stays_inside_a_string(redaction: JsonPointer | FormField) -> None:
    harmless = JsonPointer(("x", "*")) if isinstance(redaction, JsonPointer) else FormField("x")
    outside = [_STRING.sub("S", change((), (each,))) for each in (redaction, harmless)]
    assert outside[0] == outside[1]


@pytest.mark.parametrize(
    ("redactions", "tables"),
    [
        ([FormField("B"), FormField("a"), FormField("b")], ["nil", '{["a"] = true, ["b"] = true}']),
        ([JsonPointer(("a",))], ['{steps = {["a"] = {masked = true}}}', "nil"]),
        (
            [JsonPointer(("a", "b")), JsonPointer(("A", "c")), JsonPointer(("Ä",))],
            [
                (
                    '{steps = {["a"] = {steps = {["b"] = {masked = true}, ["c"] = {masked = true}}},'
                    ' ["\\195\\132"] = {masked = true}}}'
                ),
                "nil",
            ],
        ),
        # What masks all of a value leaves nothing to look for inside.
        ([JsonPointer(("a", "b")), JsonPointer(("a",))], ['{steps = {["a"] = {masked = true}}}', "nil"]),
    ],
)
def test_places_are_written_as_a_tree_in_small_letters(
    redactions: list[JsonPointer | FormField], tables: list[str]
) -> None:
    script = change((), redactions)
    assert re.findall(r"^local (?:json|form)_rules = (.*)$", script, re.MULTILINE) == tables


def test_a_script_does_only_what_it_was_asked_for() -> None:
    rewriting = change((Rewrite(PathPrefix("/a"), "/b"), Rewrite(PathPrefix("/c/"), "/")), ())
    assert '{old = "/a", new = "/b", itself = true}, {old = "/c", new = "", itself = false}' in rewriting
    assert "redacted" not in rewriting
    assert "rewritten" not in change((), (FormField("a"),))
    assert "setBytes" not in change((), ())


def test_the_rate_is_the_size_of_the_bucket() -> None:
    assert "local rate, tokens, last = 7, 7, 0" in pace(7)
