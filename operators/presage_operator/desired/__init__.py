"""What should be there for a job: pure functions from a job and the settings to Kubernetes objects, one kind a file."""
