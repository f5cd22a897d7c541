"""Each alert fires when it should, and not when it should not: by promtool, with series that are made up."""

import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.monitoring.tools import MONITORING, ROOT, RULES, alerts, tool

UP = 'xds_shadow_build_info{version="1"}'
BUCKETS = "xds_shadow_convergence_seconds_bucket"
LAG = "xds_shadow_loop_lag_seconds_bucket"
WORSE, NO_WORSE, BLIND = (
    f'xds_shadow_verdict{{namespace="staging", deployment="web-canary", verdict="{verdict}"}}'
    for verdict in ("Worse", "NoWorse", "Blind")
)
NOT_MIRRORED = 'xds_shadow_traffic{namespace="staging", deployment="web-canary", traffic="NotMirrored"}'
ENDED = "xds_shadow_streams_ended_total"


class Case(NamedTuple):
    """Series of one replica, every 30 seconds for an hour in promtool's notation, with which the alert fires,
    and series with which it does not."""

    fires: dict[str, str]
    silent: dict[str, str]


CASES = {
    "XdsShadowDown": Case({UP: "1x20 _x100"}, {UP: "1x120"}),
    "XdsShadowNotReady": Case({"xds_shadow_ready": "0x120"}, {"xds_shadow_ready": "0x8 1x112"}),
    "XdsShadowNoEnvoys": Case(
        {"xds_shadow_ready": "1x120", 'xds_shadow_envoys{variant="delta"}': "2x20 0x100"},
        {"xds_shadow_ready": "1x120", 'xds_shadow_envoys{variant="delta"}': "2x120"},
    ),
    "XdsShadowSourceDown": Case(
        {'xds_shadow_watch_outage_seconds{kind="Pod"}': "0+30x120"},
        {'xds_shadow_watch_outage_seconds{kind="Pod"}': "200x120"},
    ),
    "XdsShadowWatchSilent": Case(
        {'xds_shadow_watch_silence_seconds{kind="Pod"}': "0+30x120", "xds_shadow_source_up": "1x120"},
        # An outage has an alert of its own.
        {'xds_shadow_watch_silence_seconds{kind="Pod"}': "0+30x120", "xds_shadow_source_up": "0x120"},
    ),
    "XdsShadowBuildFailing": Case(
        {"xds_shadow_build_failures_total": "0x100 1x20"}, {"xds_shadow_build_failures_total": "1x120"}
    ),
    "XdsShadowBehind": Case(
        {"xds_shadow_config_behind_seconds": "0+30x120"}, {"xds_shadow_config_behind_seconds": "50x120"}
    ),
    "XdsShadowNack": Case(
        {'xds_shadow_rejecting_envoys{type="RDS"}': "1x120"},
        {'xds_shadow_rejecting_envoys{type="RDS"}': "1x118 0x2"},
    ),
    "XdsShadowUnanswered": Case(
        {"xds_shadow_convergence_waiting_seconds": "0+30x120"},
        {"xds_shadow_convergence_waiting_seconds": "50x120"},
    ),
    "XdsShadowSlow": Case(
        {f'{BUCKETS}{{le="{le}"}}': f"0+{rate}x120" for le, rate in (("5.0", 8), ("10.0", 10), ("+Inf", 10))},
        {
            f'{BUCKETS}{{le="{le}"}}': f"0+{rate}x120"
            for le, rate in (("5.0", 10), ("10.0", 10), ("+Inf", 10))
        },
    ),
    "XdsShadowClientsRejected": Case(
        {f'{ENDED}{{cause="denied"}}': "0+1x120"},
        {f'{ENDED}{{cause="client"}}': "0+1x120", f'{ENDED}{{cause="shutdown"}}': "0+1x120"},
    ),
    "XdsShadowBusy": Case(
        {f'{LAG}{{le="{le}"}}': f"0+{rate}x120" for le, rate in (("0.5", 90), ("1.0", 100), ("+Inf", 100))},
        {f'{LAG}{{le="{le}"}}': f"0+{rate}x120" for le, rate in (("0.5", 100), ("1.0", 100), ("+Inf", 100))},
    ),
    "XdsShadowRejected": Case(
        {'xds_shadow_shadows{state="Rejected"}': "1x120"}, {'xds_shadow_shadows{state="Active"}': "1x120"}
    ),
    "XdsShadowEventsFail": Case(
        {'xds_shadow_events_total{result="failed"}': "0+1x120"},
        {'xds_shadow_events_total{result="written"}': "0+1x120"},
    ),
    "XdsShadowCanaryWorse": Case(
        {WORSE: "0x118 1x2", NO_WORSE: "0x120"},
        {WORSE: "1x110 0x10", NO_WORSE: "1x120"},
    ),
    "XdsShadowNotMirrored": Case({NOT_MIRRORED: "0x90 1x30"}, {NOT_MIRRORED: "0x112 1x8"}),
    # It is silent for 15 minutes.
    "XdsShadowBlind": Case({BLIND: "0x60 1x60"}, {BLIND: "0x95 1x25"}),
}


def promtool(*arguments: str) -> str:
    """What it says; it has to be content."""
    command = [tool("promtool"), *arguments]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout


def test_every_alert_has_a_case() -> None:
    assert [each["alert"] for each in alerts()] == list(CASES)


@pytest.mark.parametrize("fires", [True, False], ids=["fires", "is silent"])
def test_an_alert_fires_when_it_should_alone(tmp_path: Path, fires: bool) -> None:
    """All in one run of promtool, which has a test for each."""

    def test_of(alert: str, series: dict[str, str]) -> dict[str, Any]:
        where = 'job="xds-shadow", instance="a"'
        named = {
            name.replace("{", "{" + where + ", ") if "{" in name else f"{name}{{{where}}}": values
            for name, values in series.items()
        }
        return {
            "name": alert,
            "interval": "30s",
            "input_series": [{"series": name, "values": values} for name, values in named.items()],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)',
                    "eval_time": "60m",
                    "exp_samples": [{"labels": "{}", "value": int(fires)}],
                }
            ],
        }

    tests = [test_of(name, case.fires if fires else case.silent) for name, case in CASES.items()]
    file = tmp_path / "rules.test.yaml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "30s", "tests": tests})
    )
    promtool("test", "rules", str(file))


def test_promtool_finds_nothing_wrong() -> None:
    assert f"{len(CASES)} rules found" in promtool("check", "rules", str(RULES))


def test_the_operators_form_says_the_same() -> None:
    resource = yaml.safe_load((MONITORING / "prometheusrule.yaml").read_text())
    assert resource["kind"] == "PrometheusRule"
    assert resource["spec"] == yaml.safe_load(RULES.read_text())


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_what_to_do_is_in_the_page(alert: dict[str, Any]) -> None:
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    lines = (ROOT / page).read_text().splitlines()
    assert anchor == alert["alert"].lower()
    assert f"### {alert['alert']}" in lines
    assert alert["annotations"].keys() == {"summary", "description", "runbook"}
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
