"""What a run found, shown to people: a self-contained page, terminal tables and files."""
