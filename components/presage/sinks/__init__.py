"""Where a job's results also go: tables of relational databases, and Parquet files."""
