"""What a shadow's state says of its requests."""

import pytest

from xds_server.core.verdict.traffic import Observed, Traffic, traffic
from xds_server.xds.loads import NO_LOAD, Load


def seen(
    primary: Load = NO_LOAD,
    mirrored: Load = NO_LOAD,
    *,
    share: float | None = 1.0,
    envoys: int = 2,
    capped: bool = False,
    silent: tuple[str, ...] = (),
) -> Observed:
    return Observed(
        primary=primary, mirrored=mirrored, share=share, envoys=envoys, capped=capped, silent=silent
    )


@pytest.mark.parametrize(
    ("observed", "state", "words"),
    [
        (seen(envoys=0), Traffic.NO_ENVOY, "No Envoy that is connected to this replica mirrors requests"),
        (seen(envoys=1, silent=("a",)), Traffic.NO_REPORTS, "Envoy a reports no loads"),
        (seen(), Traffic.NO_TRAFFIC, "In the last 9 s the Service received no requests."),
        (seen(Load(2, 2)), Traffic.NO_TRAFFIC, "none of 2 requests was mirrored; 100.00% of all"),
        (seen(Load(1000, 1000), share=0.01), Traffic.NO_TRAFFIC, "1.00% of all requests are to be"),
        (seen(Load(2000, 2000), share=0.01), Traffic.NOT_MIRRORED, "none of 2000 requests was mirrored"),
        (seen(Load(900, 900), share=None), Traffic.NO_TRAFFIC, "none met the conditions, or no endpoint"),
        (seen(Load(3, 3)), Traffic.NOT_MIRRORED, "none of 3 requests was mirrored: every endpoint"),
        (seen(Load(900, 900), Load(5, 0, 5)), Traffic.NOT_MIRRORED, "only 5 of 900 requests were mirrored"),
        (seen(Load(900, 900), Load(5, 0, 5), capped=True), Traffic.FAILING, "5 failed (100.0%)"),
        (seen(Load(900, 900), Load(5, 5), share=None), Traffic.MIRRORING, "5 requests were mirrored"),
        (seen(Load(80, 80), Load(9, 9), share=0.25), Traffic.MIRRORING, "9 requests were mirrored"),
        (seen(Load(50, 50), Load(50, 24, 26)), Traffic.FAILING, "26 failed (52.0%), and 0.0% of"),
        (seen(Load(50, 24, 26), Load(50, 24, 26)), Traffic.MIRRORING, "26 failed (52.0%)."),
        (seen(Load(2, 2), Load(2, 0, 2)), Traffic.MIRRORING, "2 failed (100.0%)."),
        (seen(Load(50, 50), Load(5, 5, 0, 45)), Traffic.DROPPED, "45 of 50 mirrored requests were not sent"),
        (seen(Load(50, 50), Load(50, 50)), Traffic.MIRRORING, "50 requests were mirrored; 0 failed"),
        (seen(Load(1, 1), Load(1, 1)), Traffic.MIRRORING, "1 request was mirrored; 0 failed (0.0%)."),
        (seen(Load(50, 50), Load(50)), Traffic.MIRRORING, "none has a response yet."),
    ],
)
def test_the_state_says_what_was_counted(observed: Observed, state: Traffic, words: str) -> None:
    found, message = traffic(observed)
    assert (found, words in message) == (state, True), message


def test_an_envoy_that_reports_nothing_is_named_beside_the_figures_of_the_others() -> None:
    state, message = traffic(seen(Load(5, 5), Load(5, 5), envoys=3, silent=("old-1", "old-2")))
    assert state is Traffic.MIRRORING
    assert message.startswith(
        "In the last 9 s 5 requests were mirrored; 0 failed (0.0%). 2 Envoys (old-1, old-2) "
    )
    assert message.endswith("not counted.")
