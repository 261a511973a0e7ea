"""The ledger: issued forecasts against what came."""
