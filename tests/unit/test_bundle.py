"""A bundle is written whole or not at all, and read back only where it is what its manifest says."""

from __future__ import annotations

import json
import os
import resource
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from model_frames import real_frame
from pydantic import ValidationError

from presage.errors import LakeError, StorageError
from presage.models import bundle as bundle_module
from presage.models.bundle import (
    MANIFEST,
    SIZE_AT_MOST,
    Bundle,
    BundleSeries,
    ConformalState,
    files_of_series,
    read_bundle,
    share_files,
    write_bundle,
)
from presage.models.combination import combine
from presage.models.contract import Task
from presage.models.registry import load, trainer
from presage.spec.models import Model

FILES = {"forecaster.json": b"{}", "member/naive/forecaster.json": b'{"name":"naive"}', "empty": b""}


def make_bundle(**changes):
    values = {
        "job": "sp500-volatility",
        "namespace": "default",
        "spec_digest": "sha256:" + "0" * 64,
        "model": "ridge",
        "parameters": {"alpha": 1.0},
        "features": ("volatility.lag_1", "volatility.mean_5"),
        "transform": "LogChange",
        "horizon": 2,
        "season": 5,
        "frequency": "1d",
        "train_start": datetime(1999, 1, 4, tzinfo=UTC),
        "train_end": datetime(2018, 12, 31, tzinfo=UTC),
        "conformal": ConformalState(
            probabilities=(0.05, 0.5, 0.95), offsets=((-0.1, 0.0, 0.1 + 0.2), (-0.2, 0.0, 0.2))
        ),
        "created_at": datetime(2019, 1, 1, 12, tzinfo=UTC),
    }
    return Bundle(**(values | changes))


def contents(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def names(directory):
    return [path.name for path in directory.iterdir()]


def test_what_was_written_is_read_back(tmp_path):
    written = write_bundle(tmp_path / "deep" / "bundle", make_bundle(), FILES)
    bundle, files = read_bundle(tmp_path / "deep" / "bundle")
    assert bundle == written
    assert files == FILES
    assert bundle.conformal.offsets[0][2] == 0.1 + 0.2
    assert bundle.parameters == {"alpha": 1.0}
    assert names(tmp_path / "deep") == ["bundle"]


def test_the_same_bundle_has_the_same_bytes(tmp_path):
    write_bundle(tmp_path / "one", make_bundle(), FILES)
    write_bundle(tmp_path / "two", make_bundle(), dict(reversed(FILES.items())))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_bundle_that_stands_there_is_replaced(tmp_path):
    write_bundle(tmp_path / "bundle", make_bundle(), {"old": b"old"})
    write_bundle(tmp_path / "bundle", make_bundle(horizon=2, season=7), FILES)
    bundle, files = read_bundle(tmp_path / "bundle")
    assert (bundle.season, files) == (7, FILES)
    assert names(tmp_path) == ["bundle"]


def test_a_full_disk_leaves_what_stood_there(tmp_path):
    write_bundle(tmp_path / "bundle", make_bundle(), FILES)
    before = contents(tmp_path / "bundle")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot be written: File too large.*Free some space"):
            write_bundle(tmp_path / "bundle", make_bundle(season=7), FILES | {"large": bytes(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(tmp_path / "bundle") == before
    assert names(tmp_path) == ["bundle"]


def test_a_replacement_that_fails_puts_the_old_bundle_back(tmp_path):
    write_bundle(tmp_path / "bundle", make_bundle(), FILES)
    with pytest.raises(FileNotFoundError):
        bundle_module._replace(tmp_path / "bundle", tmp_path / "nowhere", aside=tmp_path / "aside")
    assert read_bundle(tmp_path / "bundle")[1] == FILES
    assert names(tmp_path) == ["bundle"]


def test_a_parent_that_is_a_file_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(StorageError, match="cannot be written"):
        write_bundle(tmp_path / "file" / "bundle", make_bundle(), FILES)


ESCAPES = [
    "../outside",
    "/etc/passwd",
    "a/../../outside",
    "a//b",
    "",
    ".",
    "..",
    ".hidden",
    "a\\b",
    "a/",
    "a\nb",
    MANIFEST,
]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_path_that_may_not_stand_in_a_bundle_is_not_written(tmp_path, name):
    with pytest.raises(LakeError, match="may not stand in a bundle"):
        write_bundle(tmp_path / "bundle", make_bundle(), {name: b"x"})
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ESCAPES)
def test_a_manifest_that_names_a_path_outside_is_refused(tmp_path, name):
    directory = tmp_path / "bundle"
    write_bundle(directory, make_bundle(), FILES)
    (tmp_path / "outside").write_bytes(b"{}")
    change_manifest(directory, lambda manifest: manifest["files"].update({name: manifest["files"]["forecaster.json"]}))
    with pytest.raises(LakeError, match="may not stand in a bundle"):
        read_bundle(directory)


def change_manifest(directory, change):
    manifest = json.loads((directory / MANIFEST).read_text())
    change(manifest)
    (directory / MANIFEST).write_text(json.dumps(manifest))


def replace_with_link(directory):
    (directory / "empty").unlink()
    (directory / "empty").symlink_to("forecaster.json")


def replace_with_linked_folder(directory):
    (directory / "member").rename(directory.parent / "elsewhere")
    (directory / "member").symlink_to(directory.parent / "elsewhere", target_is_directory=True)


def replace_with_pipe(directory):
    (directory / "empty").unlink()
    os.mkfifo(directory / "empty")


def grow(directory):
    with (directory / "empty").open("wb") as file:
        file.truncate(SIZE_AT_MOST + 1)


@pytest.mark.parametrize(
    ("spoil", "what", "remedy"),
    [
        (lambda d: (d / "forecaster.json").write_bytes(b"[]"), "content of forecaster.json", "copy the bundle again"),
        (lambda d: (d / "forecaster.json").write_bytes(b"{} "), "content of forecaster.json", "copy the bundle again"),
        (lambda d: (d / "empty").unlink(), "lacks empty", "copy the bundle again"),
        (lambda d: (d / "more.bin").write_bytes(b"x"), "holds more.bin", "Remove that file"),
        (lambda d: (d / "member" / "more").write_bytes(b"x"), "holds member/more", "Remove that file"),
        (replace_with_link, "holds empty, which is a link", "links resolved"),
        (replace_with_linked_folder, "holds member, which is a link", "links resolved"),
        (replace_with_pipe, "holds empty, which is a link or a device", "links resolved"),
        (grow, "larger than the 1073741824", "smaller trees"),
        (lambda d: (d / MANIFEST).unlink(), "holds no bundle", "Name the directory"),
        (lambda d: (d / MANIFEST).write_text("{"), "no JSON object", "copy the bundle again"),
        (lambda d: (d / MANIFEST).write_text("[]"), "no JSON object", "copy the bundle again"),
        (lambda d: (d / MANIFEST).write_bytes(b"\xff\xfe\x00"), "no JSON object", "copy the bundle again"),
        (lambda d: (d / MANIFEST).write_text("[" * 200_000), "no JSON object", "copy the bundle again"),
        (lambda d: change_manifest(d, lambda m: m.update(version="v3")), "version 'v3'", "Install the version"),
        (lambda d: change_manifest(d, lambda m: m.pop("version")), "version None", "Install the version"),
        (lambda d: change_manifest(d, lambda m: m.update(more=1)), "not permitted at more", "copy the bundle again"),
        (lambda d: change_manifest(d, lambda m: m.pop("job")), "required at job", "copy the bundle again"),
        (lambda d: change_manifest(d, lambda m: m.update(horizon=0)), "at horizon", "copy the bundle again"),
        (
            lambda d: change_manifest(d, lambda m: m.update(created_at="0001-01-01T00:00:00+23:00")),
            "a time is out of range at created_at",
            "copy the bundle again",
        ),
        (lambda d: change_manifest(d, lambda m: m["files"].pop("empty")), "holds empty", "Remove that file"),
        (lambda d: change_manifest(d, lambda m: m["files"]["empty"].update(sha256="0")), "sha256", "copy the bundle"),
    ],
)
def test_a_bundle_that_is_not_what_it_says_is_refused(tmp_path, spoil, what, remedy):
    directory = tmp_path / "bundle"
    write_bundle(directory, make_bundle(), FILES)
    spoil(directory)
    with pytest.raises(LakeError) as error:
        read_bundle(directory)
    assert what in error.value.what
    assert remedy in error.value.remedy


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(LakeError, match="cannot be read"):
        read_bundle(tmp_path / "nowhere")


def test_a_directory_that_is_no_bundle_is_not_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("here")
    for name in ("home", "file"):
        with pytest.raises(LakeError, match="is no bundle and is not replaced"):
            write_bundle(tmp_path / name, make_bundle(), FILES)
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "here"


def test_an_empty_directory_is_filled(tmp_path):
    (tmp_path / "bundle").mkdir()
    write_bundle(tmp_path / "bundle", make_bundle(), FILES)
    assert read_bundle(tmp_path / "bundle")[1] == FILES


def test_more_than_a_gibibyte_is_not_written(tmp_path):
    part = bytes(SIZE_AT_MOST // 4 + 1)
    with pytest.raises(LakeError, match="larger than"):
        write_bundle(tmp_path / "bundle", make_bundle(), {f"part_{number}": part for number in range(4)})
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"created_at": datetime(2019, 1, 1)},
        {"train_end": datetime(1998, 1, 1, tzinfo=UTC)},
        {"horizon": 3},
        {"transform": "Ratio"},
        {"more": 1},
    ],
)
def test_a_manifest_that_cannot_be_true_is_not_made(changes):
    with pytest.raises(ValidationError):
        make_bundle(**changes)


@pytest.mark.parametrize(
    ("probabilities", "offsets"),
    [((0.5, 0.1), ()), ((0.1, 0.1), ()), ((0.1, 0.5), ((1.0,),)), ((0.0, 0.5), ()), ((0.1,), ((float("nan"),),))],
)
def test_a_conformal_state_that_cannot_be_true_is_not_made(probabilities, offsets):
    with pytest.raises(ValidationError):
        ConformalState(probabilities=probabilities, offsets=offsets)


def test_times_are_kept_in_utc(tmp_path):
    seoul = timezone(timedelta(hours=9))
    write_bundle(tmp_path / "bundle", make_bundle(created_at=datetime(2019, 1, 1, 9, tzinfo=seoul)), FILES)
    assert json.loads((tmp_path / "bundle" / MANIFEST).read_text())["created_at"] == "2019-01-01T00:00:00Z"


def test_a_forecaster_survives_its_bundle(tmp_path):
    frame = real_frame("volatility", 2)
    task = Task("Level", 2, 5, 0)
    members = {name: trainer(Model(name=name)).fit(frame, task) for name in ("ridge", "xgboost", "catboost", "theta")}
    combination = combine(members)
    bundle = make_bundle(model="mean_combination", parameters={}, features=frame.feature_names, transform="Level")
    write_bundle(tmp_path / "bundle", bundle, combination.dump())
    manifest, files = read_bundle(tmp_path / "bundle")
    rows = np.arange(1400, 1500)
    assert np.array_equal(load(manifest.model, files).predict(frame, rows), combination.predict(frame, rows))


def test_a_bundle_of_a_panel_holds_alike_files_once_and_gives_each_series_its_own(tmp_path):
    parts = [{"state.json": b"a", "model.bin": b"x"}, {"state.json": b"a", "model.bin": b"y"}]
    files = share_files(parts)
    assert files == {"state.json": b"a", "series/0/model.bin": b"x", "series/1/model.bin": b"y"}
    series = tuple(BundleSeries(name=name) for name in ("BRK.B", "=1+1"))
    written = write_bundle(tmp_path / "bundle", make_bundle(version="v2", panel=series), files)
    bundle, read = read_bundle(tmp_path / "bundle")
    assert bundle == written
    assert [files_of_series(read, place) for place in range(2)] == parts
    assert share_files(parts[:1]) == parts[0]


def test_a_bundle_of_one_series_says_nothing_of_a_panel(tmp_path):
    write_bundle(tmp_path / "bundle", make_bundle(), FILES)
    content = json.loads((tmp_path / "bundle" / "bundle.json").read_text())
    assert content["version"] == "v1"
    assert "panel" not in content


@pytest.mark.parametrize(
    "parts",
    [
        {"version": "v2"},
        {"panel": (BundleSeries(name="A"),)},
        {"version": "v2", "panel": (BundleSeries(name="A"), BundleSeries(name="A"))},
    ],
    ids=["no series", "an older version", "a name twice"],
)
def test_a_panel_in_a_bundle_is_checked(parts):
    with pytest.raises(ValidationError):
        make_bundle(**parts)
