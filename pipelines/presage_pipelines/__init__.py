"""The Kubeflow pipeline over the steps of `presage`."""
