"""Regression and Classification: a column of a row predicted from the row itself, judged over time."""
