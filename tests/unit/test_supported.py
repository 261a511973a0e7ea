"""What is refused before anything is read, because a run would leave it undone."""

from __future__ import annotations

from commands import EXAMPLES, presage


def test_a_backfill_of_rows_is_refused_with_the_reason_and_what_does_it(tmp_path):
    job = EXAMPLES / "chicago-taxi-fare.yaml"
    ended = presage("backfill", job, "--workdir", tmp_path / "work", code=2)
    told = " ".join(ended.err.split())
    assert "fills gaps between bars, and the rows of a Regression have none" in told
    assert "every run reads their source whole, late rows and late outcomes with it" in told
    assert "Use `presage run` instead" in told
    assert not (tmp_path / "work" / "lake").exists()


def test_a_second_source_of_rows_is_refused_also_in_a_dry_run(tmp_path):
    file = tmp_path / "job.yaml"
    text = (EXAMPLES / "chicago-taxi-fare.yaml").read_text()
    weather = "    - {name: weather, file: {uri: weather.csv}, availability: {lag: 0s}}\n  features:"
    file.write_text(text.replace("  features:", weather, 1))
    for words in (("run", file, "--dry-run"), ("backtest", file, "--start", "2015-01-01", "--end", "2015-12-31")):
        assert "'weather' holds other rows" in presage(*words, "--workdir", tmp_path / "work", code=2).err
    assert not (tmp_path / "work").exists()
