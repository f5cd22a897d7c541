"""The declared differences as a table, in docs/own-listener.md: ``python -m tests.envoy.forms.page`` prints
the page with it."""

import sys
from typing import Final

from tests.docs.blocks import ROOT
from tests.envoy.forms.doors import GATEWAY, OWN
from tests.envoy.forms.forms import AS_SENT, FORMS, Outcome

_BEGIN: Final = "<!-- The table is generated: make generate -->\n"
_END: Final = "<!-- End of the table -->\n"


def with_table(page: str) -> str:
    """The page, with the table as it should be."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}{_table()}{_END}{after}"


def _table() -> str:
    """The own listener's outcomes, and in a row of its own what is different behind the gateway."""
    marked = {*OWN.every, "+ x-xds-shadow: NAMESPACE/NAME"}
    rows = [("every request", _listed(OWN.every), _listed(marked))]
    instead = f"{_listed(GATEWAY.every - OWN.every)} instead"
    rows.append(("… through the gateway", instead, instead))
    as_sent = []
    for form in FORMS:
        if form.outcome == AS_SENT:
            as_sent.append(form.name)
        else:
            rows.append((form.name, _service(form.outcome), _canary(form.outcome)))
        if form.gateway:
            rows.append(("… through the gateway", _service(form.gateway), _canary(form.gateway)))
    head = ("Request", "At the Service", "At the canary"), ("---", "---", "---")
    lines = "".join(f"| {' | '.join(row)} |\n" for row in (*head, *rows))
    rest = "There are no other differences. These requests differ only by the first row"
    return f"{lines}\n{rest}: {'; '.join(as_sent)}.\n"


def _service(outcome: Outcome) -> str:
    if outcome.status not in (101, 200):
        return f"never arrives: Envoy answers {outcome.status}"
    return _listed((*outcome.differs, *(f"not {each}" for each in outcome.without))) or "as sent"


def _canary(outcome: Outcome) -> str:
    if outcome.canary is None:
        return "never arrives" if outcome.status not in (101, 200) else "is not mirrored"
    if outcome.canary == outcome.differs:
        return "the same"
    return _listed((*outcome.canary, *(f"not {each}" for each in outcome.without))) or "as sent"


def _listed(differences: "frozenset[str] | set[str] | tuple[str, ...]") -> str:
    ordered = differences if isinstance(differences, tuple) else sorted(differences)
    return ", ".join(f"`{each}`".replace("|", "\\|") for each in ordered)


if __name__ == "__main__":
    sys.stdout.write(with_table((ROOT / "docs" / "own-listener.md").read_text()))
