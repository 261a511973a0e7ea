"""The operator's metrics before and after its first reconcile."""

from __future__ import annotations

import ast
from pathlib import Path

from prometheus_client import generate_latest

from presage_operator import controller
from presage_operator.metrics import RESULTS, Metrics


def test_every_result_of_a_reconcile_is_there_before_the_first_one() -> None:
    metrics = Metrics(lambda: 0, lambda: 0, list, lambda: 0)
    text = generate_latest(metrics.registry).decode()
    for result in RESULTS:
        assert f'presage_reconcile_seconds_count{{result="{result}"}} 0.0' in text
        assert f'presage_reconcile_seconds_bucket{{le="2.5",result="{result}"}} 0.0' in text


def test_the_results_are_those_that_the_controller_tells() -> None:
    tree = ast.parse(Path(controller.__file__).read_text(encoding="utf-8"))
    told = {
        node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and [ast.unparse(target) for target in node.targets] == ["result"]
        and isinstance(node.value, ast.Constant)
    }
    assert told == set(RESULTS)
