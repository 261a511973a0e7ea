"""From what a job's source names to rows that keep the contract of `presage.frame`; one adapter a module."""
