"""What the README shows is what the repository holds."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_job_in_the_readme_is_the_quickstart() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = (ROOT / "manifests" / "examples" / "quickstart.yaml").read_text(encoding="utf-8").splitlines()
    job = "\n".join(line for line in lines if not line.startswith("#"))
    assert f"```yaml\n{job}\n```" in readme


def test_every_file_that_a_page_links_to_is_there() -> None:
    pages = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for part in page.read_text(encoding="utf-8").split("](")[1:]:
            link = part.partition(")")[0]
            if not link.startswith(("#", "http")):
                assert (page.parent / link.partition("#")[0]).exists(), f"{page.name} links to {link}"


def test_every_file_that_the_architecture_names_is_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition("| concept | file |")[2].partition("## Arrows")[0]
    named = [name for name in table.split("`")[1::2] if name.endswith((".py", "/"))]
    assert len(named) > 20
    for name in named:
        assert (ROOT / "components" / "presage" / name).exists(), name
