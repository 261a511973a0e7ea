"""Prints SQLAlchemy's address of MLflow's database: `python database.py`. The password comes from the environment."""  # noqa: INP001 - a script

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from urllib.parse import quote


def address(given: Mapping[str, str]) -> str:
    """Return the address: of a file where one is given, else of a MySQL server."""
    if file := given.get("DATABASE_FILE"):
        return f"sqlite:///{file}"
    user, password = quote(given["DATABASE_USER"], safe=""), quote(given["DATABASE_PASSWORD"], safe="")
    host, port, name = given["DATABASE_HOST"], given["DATABASE_PORT"], given["DATABASE_NAME"]
    return f"mysql+pymysql://{user}:{password}@{host}:{port}/{name}"


if __name__ == "__main__":
    sys.stdout.write(address(os.environ))
