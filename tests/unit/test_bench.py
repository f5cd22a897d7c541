"""The harness works, on small sizes; what it measures is no test's business."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from bench import report, scale
from bench.objects import documents, endpoint_slice, service_of
from bench.process import machine, used


def test_the_large_cluster_has_what_it_should() -> None:
    found = list(documents(4, 100))
    kinds = [each["kind"] for each in found]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "Namespace": 4,
        "Service": 100,
        "EndpointSlice": 100,
        "Deployment": 2,
        "Pod": 2,
    }
    addresses = [
        endpoint["addresses"][0]
        for each in found
        if each["kind"] == "EndpointSlice"
        for endpoint in each["endpoints"]
    ]
    assert len(set(addresses)) == 1000
    assert json.dumps(found) == json.dumps(list(documents(4, 100)))


def test_a_changed_slice_differs_in_one_address() -> None:
    before, after = endpoint_slice(7, 4), endpoint_slice(7, 4, "10.250.0.1")
    assert (after["metadata"]["namespace"], after["metadata"]["name"][:14]) == service_of(7, 4)
    assert after["endpoints"][0]["addresses"] == ["10.250.0.1"]
    assert after["endpoints"][1:] == before["endpoints"][1:]


def test_a_process_has_used_something() -> None:
    found = used(os.getpid())
    assert found.peak_mib >= found.rss_mib > 1
    assert found.cpu_s > 0
    assert all(machine().values())


STEADY = {
    "lost": 0,
    "made": 10,
    "taken": 10,
    "drained_s": 0.2,
    "first_half_ms": 100.0,
    "second_half_ms": 110.0,
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"lost": 1}, False),
        ({"taken": 9}, False),
        ({"drained_s": 1.5}, False),
        ({"second_half_ms": 400.0}, False),
    ],
)
def test_keeping_up_is_a_verdict(change: dict[str, Any], expected: bool) -> None:
    assert scale.keeps_up(STEADY | change) is expected


def test_the_page_shows_the_results_and_nothing_else() -> None:
    envoys = {"envoy-delta": {"median_ms": 41.4, "worst_ms": 77.7}}
    results = {
        "date": "2026-01-01",
        "version": "0.1.0",
        "python": "3.11",
        "machine": {"processors": "2 of a kind", "memory": "4 GiB", "kernel": "6"},
        "label": {"times": 50, "failures": 0, "kubectl": envoys, "request": envoys},
    }
    page = report.page(results)
    assert "| envoy-delta | the start of `kubectl label` | 41 ms | 78 ms |" in page
    assert "2 of a kind" in page
    assert "From start to ready" not in page


@pytest.mark.envoy
@pytest.mark.thorough
def test_a_quick_run_measures_everything() -> None:
    # Building the other side takes as long as a cold Go cache takes.
    command = [sys.executable, "-m", "bench", "--quick", "--alone"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    for title in (
        "From start to ready",
        "Steady state",
        "What one label costs",
        "Memory: ",
        "From a label to",
        "A canary that misbehaves",
        "What mirroring costs an Envoy by request",
        "Beside go-control-plane",
    ):
        assert title in found.stdout
    assert "written" not in found.stdout
