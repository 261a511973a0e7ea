"""Presage turns one file, a PredictionJob, into an honest, running forecast."""

__version__ = "0.1.0"
