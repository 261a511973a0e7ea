"""A first job for a table: what each of its fields may be, told from the table itself."""
