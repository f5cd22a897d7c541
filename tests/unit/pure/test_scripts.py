"""The scripts of a shadow cluster: what a user wrote is only ever a quoted text in them.

What they do is tested where they run, on an Envoy (tests/envoy/policy).
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_server.core.terms import FormField, JsonPointer, PathPrefix, Rewrite
from xds_server.translate.lua import quoted
from xds_server.translate.scripts import change

_STRING = re.compile(r'"(?:[A-Za-z0-9 _./:*-]|\\[0-9]{3})*"')
ODD = "Ä\N{LATIN SMALL LETTER LONG S}\N{KELVIN SIGN}"
HOSTILE = 'a"] = 1}; os.exit() --[[\n\\"]]\x00ä'


@given(st.text())
def test_a_text_is_one_lua_string_of_harmless_characters(text: str) -> None:
    found = quoted(text)
    assert _STRING.fullmatch(found)
    plain = re.sub(r"\\([0-9]{3})", lambda match: chr(int(match.group(1))), found[1:-1])
    assert plain.encode("latin-1").decode() == text


@pytest.mark.parametrize("redaction", [JsonPointer((HOSTILE, "*")), FormField(HOSTILE)])
def test_the_text_of_an_annotation_stays_inside_a_string(redaction: JsonPointer | FormField) -> None:
    same = "x" * len(HOSTILE.encode())
    harmless = JsonPointer((same, "*")) if isinstance(redaction, JsonPointer) else FormField(same)
    outside = [_STRING.sub("S", change((), (each,))) for each in (redaction, harmless)]
    assert outside[0] == outside[1]


@pytest.mark.parametrize(
    ("redactions", "tables"),
    [
        ([FormField("B"), FormField("a"), FormField("b")], ["{}", '{["a"] = true, ["b"] = true}']),
        ([JsonPointer(("a",))], ['{{ends = {[1] = 1}, any = {}, names = {[0] = {["a"] = 1}}}}', "nil"]),
        # A bit for each, by depth; an index also as a number.
        (
            [JsonPointer(("A", "*")), JsonPointer(("a", "12")), JsonPointer(("*", "012"))],
            [
                (
                    "{{ends = {[2] = 7}, any = {[0] = 4, [1] = 1},"
                    ' names = {[0] = {["a"] = 3}, [1] = {["012"] = 4, ["12"] = 2, [12] = 2}}}}'
                ),
                "nil",
            ],
        ),
        # In small letters, those for which some decoders take others included.
        (
            [JsonPointer((ODD,)), FormField(ODD)],
            [
                '{{ends = {[1] = 1}, any = {}, names = {[0] = {["\\195\\132sk"] = 1}}}}',
                '{["\\195\\132sk"] = true}',
            ],
        ),
    ],
)
def test_places_are_written_as_tables(redactions: list[JsonPointer | FormField], tables: list[str]) -> None:
    script = change((), redactions)
    assert re.findall(r"^local (?:json|form)_rules = (.*)$", script, re.MULTILINE) == tables


def test_more_places_than_bits_are_several_tables() -> None:
    places = [JsonPointer((str(number),)) for number in range(40)]
    [tables] = re.findall(r"^local json_rules = (.*)$", change((), places), re.MULTILINE)
    assert [hex(int(ends)) for ends in re.findall(r"ends = {\[1\] = (\d+)}", tables)] == [
        "0xffffffff",
        "0xff",
    ]


def test_no_name_that_can_match_is_too_long() -> None:
    script = change((), [FormField("ää"), JsonPointer(("a", "abc"))])
    assert re.search(r"^local masked_text, longest.* = \"\*\*\*\", 4, ", script, re.MULTILINE)


def test_a_script_does_only_what_it_was_asked_for() -> None:
    rewriting = change((Rewrite(PathPrefix("/a"), "/b"), Rewrite(PathPrefix("/c/"), "/")), ())
    assert '{old = "/a", new = "/b", itself = true}, {old = "/c", new = "", itself = false}' in rewriting
    assert "redacted" not in rewriting
    assert "rewritten" not in change((), (FormField("a"),))
    assert "body" not in rewriting


def test_an_error_in_a_script_leaves_no_body_unmasked() -> None:
    both = change((Rewrite(PathPrefix("/a"), "/b"),), (FormField("a"),))
    request = both[both.index("function envoy_on_request") :]
    assert request.index("pcall(redact") < request.index("rewritten(")
