"""The steps of the pipeline as functions of texts and files: what a container is given, and what it leaves."""
