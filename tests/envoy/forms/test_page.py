"""The page shows what is declared."""

from tests.docs.blocks import ROOT
from tests.envoy.forms.forms import FORMS
from tests.envoy.forms.page import with_table


def test_there_are_sixty_forms_of_different_names() -> None:
    assert len({form.name for form in FORMS}) == len(FORMS) >= 60


def test_the_page_has_the_declared_differences() -> None:
    page = (ROOT / "docs" / "own-listener.md").read_text()
    assert page == with_table(page), "it is stale; run: make generate"
