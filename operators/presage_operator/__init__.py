"""The operator that reconciles PredictionJobs."""
