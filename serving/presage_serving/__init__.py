"""The inference server, its gateway and its console."""
