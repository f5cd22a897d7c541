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
    silent: tuple[str, ...] = (),
) -> Observed:
    return Observed(primary=primary, mirrored=mirrored, share=share, envoys=envoys, silent=silent)


@pytest.mark.parametrize(
    ("observed", "state", "words"),
    [
        (seen(envoys=0), Traffic.NO_ENVOY, "No connected Envoy carries this mirror."),
        (seen(envoys=1, silent=("a",)), Traffic.NO_REPORTS, "Envoy a reports no loads"),
        (seen(), Traffic.NO_TRAFFIC, "The Service received no requests."),
        (seen(Load(19, 19)), Traffic.NO_TRAFFIC, "None of 19 requests was mirrored; 100.00% of all"),
        (seen(Load(1000, 1000), share=0.01), Traffic.NO_TRAFFIC, "1.00% of all requests are"),
        (seen(Load(900, 900), share=None), Traffic.NO_TRAFFIC, "none met the conditions, or no endpoint"),
        (seen(Load(20, 20)), Traffic.NOT_MIRRORED, "None of 20 requests was mirrored: every endpoint"),
        (seen(Load(50, 50), Load(50, 24, 26)), Traffic.FAILING, "26 of them failed (52.0%), and 0.0% of"),
        (seen(Load(50, 24, 26), Load(50, 24, 26)), Traffic.MIRRORING, "26 of them failed (52.0%)."),
        (seen(Load(50, 50), Load(5, 5, 0, 45)), Traffic.DROPPED, "45 of 50 mirrored requests were not sent"),
        (seen(Load(50, 50), Load(50, 50)), Traffic.MIRRORING, "50 requests were mirrored; 0 of them failed"),
        (seen(Load(50, 50), Load(50)), Traffic.MIRRORING, "50 requests were mirrored"),
    ],
)
def test_the_state_says_what_was_counted(observed: Observed, state: Traffic, words: str) -> None:
    found, message = traffic(observed)
    assert found is state
    assert words in message


def test_an_envoy_that_reports_nothing_is_named_beside_the_figures_of_the_others() -> None:
    state, message = traffic(seen(Load(5, 5), Load(5, 5), envoys=3, silent=("old-1", "old-2")))
    assert state is Traffic.MIRRORING
    assert message.startswith("5 requests were mirrored; 0 of them failed (0.0%). 2 Envoys (old-1, old-2) ")
    assert message.endswith("not counted.")
