"""Where runs are told and models are registered: MLflow."""
