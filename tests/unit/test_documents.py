"""The pages say what the code does: every reason is explained, and every file and test that is named is there."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import pytest
from conftest import lacking

from presage import errors
from presage.evaluation.scorecard import Reason
from presage.spec.status import ConditionType, RunKind, Trigger
from presage_operator import runs

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OPERATOR = ROOT / "operators" / "presage_operator"
SOURCES = (
    *sorted(OPERATOR.glob("*.py")),
    *sorted((OPERATOR / "desired").glob("*.py")),
    ROOT / "components" / "presage" / "evaluation" / "conditions.py",
    ROOT / "components" / "presage" / "cli" / "outcome.py",
    ROOT / "components" / "presage" / "steps" / "promote.py",
)
PLACES = {"State": 1, "Fault": 0, "Note": 1, "Decision": 1, "ReadJob": 1}
"""Which argument of these is a reason, where it has no name."""
WORD = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]*)*")
PAGES = [DOCS / f"{name}.md" for name in ("security", "threat-model", "supply-chain", "operations", "comparison")]


def words(node: ast.AST | None, names: dict[str, str]) -> Iterator[str]:
    """Return the texts that an expression may be."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.Name(id=name) if name in names:
            yield names[name]
        case ast.BoolOp(values=values):
            for value in values:
                yield from words(value, names)
        case ast.IfExp(body=body, orelse=other):
            yield from words(body, names)
            yield from words(other, names)
        case ast.Call(func=ast.Attribute(value=ast.Dict(values=values))):
            for value in values:
                yield from words(value, names)
        case ast.Starred(value=value):
            yield from words(value, names)


def constants(tree: ast.Module) -> dict[str, str]:
    """Return the texts that a module gives a name."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }


def reasons_of(tree: ast.Module) -> Iterator[str]:
    """Return the reasons that a module gives, told by where they stand."""
    names = constants(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=called), args=arguments) if len(arguments) > PLACES.get(called, 99):
                yield from words(arguments[PLACES[called]], names)
            case ast.keyword(arg="reason", value=value):
                yield from words(value, names)
            case ast.Assign(targets=[ast.Name(id="reason")], value=value):
                yield from words(value, names)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                given = zip(targets, values, strict=True)
                for value in (value for target, value in given if ast.unparse(target) == "reason"):
                    yield from words(value, names)
            case ast.Dict(keys=keys, values=values):
                given = zip(keys, values, strict=True)
                for value in (value for key, value in given if key is not None and ast.unparse(key) == "'reason'"):
                    yield from words(value, names)
            case ast.Return(value=ast.Tuple(elts=[first, _])):
                yield from words(first, names)


def raised() -> Iterator[type[errors.PresageError]]:
    """Return the kinds of error that end a run: those that mean something themselves."""
    for one in vars(errors).values():
        if isinstance(one, type) and issubclass(one, errors.PresageError):
            bases = {errors.PresageError, errors.StopError, errors.RetryError}
            if one not in bases:
                yield one


def known_reasons() -> set[str]:
    """Return every reason of the operator, of the gate and of a run that failed."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES]
    found = {word for tree in trees for word in reasons_of(tree) if WORD.fullmatch(word)}
    # What another module wrote down as a name of its own.
    found |= {runs.OUTCOME_LOST, runs.DELETED, *runs.JOB_REASONS, *get_args(Reason)} - {""}
    return found | {one.__name__ for one in raised()}


def tables(text: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Return the tables of a page with the section that each is in; the first row is the head."""
    section, rows = "", []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
            continue
        if rows:
            yield section, rows
        rows = []
        if line.startswith("#"):
            section = line.lstrip("# ")


def codes(cells: Iterable[str]) -> list[str]:
    """Return what stands between backquotes."""
    return [code for cell in cells for code in re.findall(r"`([^`]+)`", cell)]


@pytest.fixture(scope="module")
def troubles() -> list[tuple[str, list[list[str]]]]:
    """The tables of reasons of the page about troubles."""
    found = tables((DOCS / "troubleshooting.md").read_text(encoding="utf-8"))
    return [(section, rows) for section, rows in found if rows[0][0] == "reason"]


def test_every_reason_is_explained_and_no_other(troubles) -> None:
    named = [code for section, rows in troubles for code in codes(row[0] for row in rows[2:])]
    of_kubernetes = {
        code
        for section, rows in troubles
        if section == "In Kubernetes' words"
        for code in codes(row[0] for row in rows[2:])
    }
    wanted = {f"{trigger}Wants{kind}" for trigger in get_args(Trigger) for kind in get_args(RunKind)}
    known = known_reasons()
    assert len(known) > 70
    assert known - set(named) == set()
    assert set(named) - of_kubernetes - wanted - known == set()
    assert sorted(set(named)) == sorted(named), "a reason is explained twice"


def test_the_runs_that_are_wanted_are_all_named(troubles) -> None:
    named = {code for _, rows in troubles for code in codes(row[0] for row in rows[2:])}
    for kind in get_args(RunKind):
        assert f"RequestWants{kind}" in named
        assert f"RetryWants{kind}" in named


def test_exit_codes_of_failures_are_those_of_the_errors(troubles) -> None:
    told = {
        code: row[1]
        for section, rows in troubles
        if rows[0][1] == "exit code"
        for row in rows[2:]
        for code in codes(row[:1])
    }
    for one in raised():
        assert told[one.__name__] == str(one.exit_code)


def test_every_condition_is_explained() -> None:
    found = tables((DOCS / "troubleshooting.md").read_text(encoding="utf-8"))
    named = [code for _, rows in found if rows[0][0] == "condition" for code in codes(row[0] for row in rows[2:])]
    assert sorted(named) == sorted(get_args(ConditionType))


@pytest.mark.parametrize(
    ("module", "reasons"),
    [
        ('State("False", "One", "why")', {"One"}),
        ('State("False", run.reason or "Two", "why")', {"Two"}),
        ('LOST = "Three"\nstate, reason = "Failed", LOST', {"Three"}),
        ('class SomeError(Exception):\n    reason = "Four"', {"Four"}),
        ('Run(reason={"FAILED": "Five"}.get(state, "") if failed else "")', {"Five"}),
        ('def served():\n    return "Six", f"{why}"', {"Six"}),
        ('log("Seven")', set()),
    ],
)
def test_a_reason_is_found_where_it_is_given(module: str, reasons: set[str]) -> None:
    assert {word for word in reasons_of(ast.parse(module)) if word} == reasons


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_names_only_files_that_are_there(page: Path) -> None:
    named = [code for code in codes([page.read_text(encoding="utf-8")]) if re.fullmatch(r"[\w./-]+/[\w.-]+\.\w+", code)]
    for name in named:
        assert (ROOT / name).exists(), f"{page.name} names {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_names_only_tests_that_are_there(page: Path) -> None:
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    named = [code for code in codes([page.read_text(encoding="utf-8")]) if re.fullmatch(r"test_\w+", code)]
    assert set(named) <= defined | files


def tracked_pages() -> list[Path]:
    """Return every page of the repository."""
    done = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        lacking("no git repository to ask which pages there are")
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).exists()]


def prose(page: Path) -> str:
    """Return a page without its blocks of code, where a `#` begins a comment."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def broken_links(page: Path) -> Iterator[str]:
    """Yield the links of a page to files and headings that are not there."""
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", prose(page)):
        place = page.parent / target if target else page
        if not place.exists():
            yield target
        elif anchor:
            heads = re.findall(r"^#+ (.+)$", prose(place), re.MULTILINE)
            if anchor not in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}:
                yield f"{target}#{anchor}"


def test_the_links_of_all_pages_lead_to_what_is_there() -> None:
    pages = tracked_pages()
    assert len(pages) > 50
    assert {str(page.relative_to(ROOT)): found for page in pages if (found := list(broken_links(page)))} == {}


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n[well](#a-page) [well](page.md#a-page) [well](https://example.com/#nowhere)\n"
        "[gone](gone.md) [gone](#a-comment)\n```\n# a comment\n[code](gone.md)\n```\n"
    )
    assert list(broken_links(page)) == ["gone.md", "#a-comment"]


def test_the_licence_of_every_image_that_a_chart_names_is_told() -> None:
    images = (ROOT / "charts" / "images.txt").read_text(encoding="utf-8").split()
    found = tables((DOCS / "supply-chain.md").read_text(encoding="utf-8"))
    told = {code for _, rows in found if rows[0][0] == "image" for code in codes(row[0] for row in rows[2:])}
    for image in images:
        repository = image.partition("@")[0].rpartition(":")[0]
        if not repository.startswith("presage/"):
            assert repository.rpartition("/")[2] in told, f"{image}: add its licence to docs/supply-chain.md"


def test_the_extras_that_an_image_is_said_to_need_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for path in sorted(ROOT.glob("*/Dockerfile")):
        for found in re.findall(r'^ARG EXTRAS="([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE):
            assert set(found.split()) <= set(extras)
