"""Judgement: walk-forward back-tests, metrics, intervals, significance, the scorecard and the gate."""
