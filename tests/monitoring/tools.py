"""Prometheus' own tools, and what stands in manifests/monitoring."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "manifests" / "monitoring"
RULES = MONITORING / "rules.yaml"


def tool(name: str) -> str:
    """Where it is; the test is skipped where it is not."""
    return shutil.which(name) or pytest.skip(f"no {name} on the PATH (Debian: apt-get install prometheus)")


def alerts() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    """Those of the dashboard that show something."""
    found = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def expressions() -> dict[str, str]:
    """Every PromQL expression by where it stands; Grafana's variables are replaced as it does."""
    found = {f"alert {each['alert']}": each["expr"] for each in alerts()}
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"].replace("$job", ".*").replace("$__rate_interval", "1m")
            found[f"panel {panel['id']}, {panel['title']}: {target['refId']}"] = expression
    return found


def metrics_of(expression: str) -> set[str]:
    """The metrics that it names, by the names that the table has."""
    return {re.sub(r"_bucket$", "", name) for name in re.findall(r"xds_shadow_\w+", expression)}
