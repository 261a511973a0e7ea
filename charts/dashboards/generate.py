"""Writes dashboards and the objectives' rules: `python charts/dashboards/generate.py [--check]`.

They are files of the monitoring chart. The dashboards are made of the types of Grafana's own SDK, which holds them to
Grafana's schema. With `--check` nothing is written, and a file that differs is named; the exit code is then 1.
"""  # noqa: INP001 - a folder of scripts

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from btc_board import btc
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from jobs_board import jobs
from objectives import rules_text
from platform_board import platform
from quality_board import quality
from serving_board import serving

from presage.spec.generate import write_or_check

ROOT = Path(__file__).parents[2]
FILES = Path("charts/monitoring/files")


def generated_files() -> Mapping[Path, str]:
    """Return the text of each generated file by its path below the root."""
    boards = (platform(), jobs(), serving(), quality(), btc())
    written = (_text(one) for one in boards)
    return {
        **{FILES / "dashboards" / f"{name.removeprefix('presage-')}.json": text for name, text in written},
        FILES / "rules" / "objectives.yaml": rules_text(),
    }


def _text(builder: Dashboard) -> tuple[str, str]:
    made = builder.build()
    # A panel without a number of its own gets another one each time that Grafana reads it.
    for number, panel in enumerate(made.panels or (), 1):
        panel.id_val = number
    text = json.dumps(made, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
    return str(made.uid), text + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the generated files; return the exit code."""
    parser = argparse.ArgumentParser(prog="python charts/dashboards/generate.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a file differs")
    parser.add_argument("--root", type=Path, default=ROOT, help="root of the repository")
    options = parser.parse_args(arguments)
    return write_or_check(generated_files(), options.root, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
