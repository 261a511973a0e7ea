"""A bundle is written whole or not at all, and read back only where it is what its manifest says."""

from __future__ import annotations

import hashlib
import json
import os
import resource
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from model_frames import frame_of, real_frame
from pydantic import ValidationError

from presage.errors import LakeError, StorageError
from presage.models.bundle import (
    MANIFEST,
    SIZE_AT_MOST,
    Bundle,
    BundleSeries,
    ConformalState,
    FittedTransform,
    FrameFeature,
    FrameSchema,
    files_of_series,
    read_bundle,
    share_files,
    write_bundle,
)
from presage.models.bundle_files import replace_directory
from presage.models.combination import combine
from presage.models.contract import Task
from presage.models.registry import load, trainer
from presage.spec.features import Feature
from presage.spec.models import Model

FILES = {"forecaster.json": b"{}", "member/naive/forecaster.json": b'{"name":"naive"}', "empty": b""}


LAG = '{"lag":{"columns":["sp500.volatility"],"steps":[1]}}'
MEAN = '{"rolling":{"columns":["sp500.volatility"],"windows":[5],"statistics":["mean"]}}'


def frame_schema(*features, series=("sp500",)):
    return FrameSchema(
        target="sp500.volatility",
        unit="percent",
        series=series,
        features=tuple(FrameFeature(name=name, definition=LAG) for name in features),
    )


def make_bundle(**changes):
    values = {
        "lock_digest": "sha256:" + "1" * 64,
        "seed": 7,
        "frame": frame_schema(*changes.get("features", ("volatility.lag_1", "volatility.mean_5"))),
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


@pytest.mark.parametrize("files", [{"../outside": b"x"}, {MANIFEST: b"{}"}, {".hidden": b"x"}, {"/tmp/x": b"x"}])
def test_a_bundle_that_is_refused_leaves_what_stood_there(tmp_path, files):
    write_bundle(tmp_path / "bundle", make_bundle(), FILES)
    before = contents(tmp_path / "bundle")
    with pytest.raises(LakeError, match="may not stand in a bundle"):
        write_bundle(tmp_path / "bundle", make_bundle(season=7), FILES | files)
    assert contents(tmp_path / "bundle") == before
    assert names(tmp_path) == ["bundle"]


def test_a_replacement_that_fails_puts_the_old_bundle_back(tmp_path):
    write_bundle(tmp_path / "bundle", make_bundle(), FILES)
    with pytest.raises(FileNotFoundError):
        replace_directory(tmp_path / "bundle", tmp_path / "nowhere", aside=tmp_path / "aside")
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
    change_and_seal(directory, lambda manifest: manifest["files"].update({name: manifest["files"]["forecaster.json"]}))
    with pytest.raises(LakeError, match="may not stand in a bundle"):
        read_bundle(directory)


def change_manifest(directory, change):
    manifest = json.loads((directory / MANIFEST).read_text())
    change(manifest)
    (directory / MANIFEST).write_text(json.dumps(manifest))


def change_and_seal(directory, change):
    """Change the manifest as one would who knows how its own digest is made."""
    change_manifest(directory, lambda manifest: (change(manifest), manifest.update(manifest_sha256="0" * 64)))
    content = (directory / MANIFEST).read_bytes()
    digest = hashlib.sha256(content).hexdigest().encode()
    (directory / MANIFEST).write_bytes(content.replace(b"0" * 64 + b'"}', digest + b'"}'))


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
        (lambda d: change_manifest(d, lambda m: m.update(version="v4")), "version 'v4'", "Install the version"),
        (
            lambda d: change_manifest(d, lambda m: m.update(version="v1")),
            "lock_digest is there since",
            "copy the bundle",
        ),
        (lambda d: change_manifest(d, lambda m: m.update(season=6)), "manifest_sha256 says", "copy the bundle again"),
        (lambda d: change_manifest(d, lambda m: m.pop("manifest_sha256")), "manifest_sha256 says", "copy the bundle"),
        (lambda d: change_manifest(d, lambda m: m.pop("version")), "version None", "Install the version"),
        (lambda d: change_manifest(d, lambda m: m.update(more=1)), "not permitted at more", "copy the bundle again"),
        (lambda d: change_manifest(d, lambda m: m.pop("job")), "required at job", "copy the bundle again"),
        (lambda d: change_manifest(d, lambda m: m.update(horizon=0)), "at horizon", "copy the bundle again"),
        (
            lambda d: change_manifest(d, lambda m: m.update(created_at="0001-01-01T00:00:00+23:00")),
            "a time is out of range at created_at",
            "copy the bundle again",
        ),
        (lambda d: change_and_seal(d, lambda m: m["files"].pop("empty")), "holds empty", "Remove that file"),
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
        {"seed": -1},
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
    names = ("BRK.B", "=1+1")
    series = tuple(BundleSeries(name=name) for name in names)
    schema = frame_schema("volatility.lag_1", "volatility.mean_5", series=names)
    written = write_bundle(tmp_path / "bundle", make_bundle(panel=series, frame=schema), files)
    bundle, read = read_bundle(tmp_path / "bundle")
    assert bundle == written
    assert [files_of_series(read, place) for place in range(2)] == parts
    assert share_files(parts[:1]) == parts[0]


def test_a_bundle_of_one_series_says_nothing_of_a_panel(tmp_path):
    write_bundle(tmp_path / "bundle", make_bundle(), FILES)
    content = json.loads((tmp_path / "bundle" / "bundle.json").read_text())
    assert content["version"] == "v3"
    assert "panel" not in content


def test_the_manifest_says_what_the_forecaster_reads_and_how_it_is_made(tmp_path):
    features = tuple(
        FrameFeature(name=name, definition=text)
        for name, text in (("volatility.lag_1", LAG), ("volatility.mean_5", MEAN))
    )
    learnt = FittedTransform(file="empty", kind="Categories", columns=("company",))
    bundle = make_bundle(frame=frame_schema().model_copy(update={"features": features}), transforms=(learnt,))
    write_bundle(tmp_path / "bundle", bundle, FILES)
    content = json.loads((tmp_path / "bundle" / MANIFEST).read_text())
    assert (content["lock_digest"], content["seed"]) == ("sha256:" + "1" * 64, 7)
    assert content["frame"] == {
        "target": "sp500.volatility",
        "unit": "percent",
        "series": ["sp500"],
        "features": [
            {"name": "volatility.lag_1", "dtype": "float64", "definition": LAG},
            {"name": "volatility.mean_5", "dtype": "float64", "definition": MEAN},
        ],
    }
    assert content["transforms"] == [{"file": "empty", "kind": "Categories", "columns": ["company"]}]
    assert Feature.model_validate_json(content["frame"]["features"][1]["definition"]).kind == "rolling"


def test_what_was_learnt_beside_the_model_is_among_the_files(tmp_path):
    learnt = FittedTransform(file="design.json", kind="Categories", columns=("company",))
    with pytest.raises(LakeError, match=r"design\.json, which its transforms name"):
        write_bundle(tmp_path / "bundle", make_bundle(transforms=(learnt,)), FILES)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "parts",
    [
        {"version": "v1"},
        {"lock_digest": None},
        {"seed": None},
        {"frame": None},
        {"frame": frame_schema("volatility.mean_5", "volatility.lag_1")},
        {"panel": (BundleSeries(name="A"),)},
        {"panel": (BundleSeries(name="sp500"), BundleSeries(name="sp500"))},
    ],
    ids=["an older version", "no lock", "no seed", "no frame", "another order", "another series", "a name twice"],
)
def test_what_does_not_fit_together_makes_no_manifest(parts):
    with pytest.raises(ValidationError):
        make_bundle(**parts)


# Bundles of earlier versions, as they were laid out.

V1_MANIFEST = """{
  "version": "v1",
  "job": "sp500-volatility",
  "namespace": "default",
  "spec_digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
  "model": "window_mean",
  "parameters": {
    "window": 5
  },
  "features": [
    "sp500.range_volatility.lag_1"
  ],
  "transform": "Level",
  "horizon": 2,
  "season": 5,
  "frequency": "1d",
  "train_start": "1999-01-04T00:00:00Z",
  "train_end": "2018-12-31T00:00:00Z",
  "conformal": {
    "probabilities": [
      0.05,
      0.95
    ],
    "offsets": [
      [
        -0.1,
        0.30000000000000004
      ],
      [
        -0.2,
        0.2
      ]
    ],
    "minimum": 0.0
  },
  "created_at": "2019-01-01T12:00:00Z",
  "files": {
    "forecaster.json": {
      "sha256": "DIGEST",
      "size": SIZE
    }
  }
}
"""
V2_MANIFEST = """{
  "version": "v2",
  "job": "stock-panel",
  "namespace": "default",
  "spec_digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
  "model": "window_mean",
  "parameters": {},
  "features": [],
  "transform": "Level",
  "horizon": 2,
  "season": 1,
  "frequency": "1d",
  "train_start": "1999-01-04T00:00:00Z",
  "train_end": "2018-12-31T00:00:00Z",
  "conformal": {
    "probabilities": [],
    "offsets": [],
    "minimum": null
  },
  "panel": [
    {
      "name": "BRK.B",
      "conformal": {
        "probabilities": [
          0.5
        ],
        "offsets": [
          [
            0.125
          ],
          [
            0.25
          ]
        ],
        "minimum": null
      }
    },
    {
      "name": "AAPL",
      "conformal": {
        "probabilities": [],
        "offsets": [],
        "minimum": null
      }
    }
  ],
  "created_at": "2019-01-01T12:00:00Z",
  "files": {
    "series/0/forecaster.json": {
      "sha256": "DIGEST",
      "size": SIZE
    },
    "series/1/forecaster.json": {
      "sha256": "DIGEST",
      "size": SIZE
    }
  }
}
"""
STATE = b'{"version":"v1","name":"window_mean","horizon":2,"transform":"Level","window":5}\n'


def lay_out(directory, manifest, *paths):
    """Write an older bundle byte by byte, as the writer of its time did."""
    for path in paths:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(STATE)
    text = manifest.replace("DIGEST", hashlib.sha256(STATE).hexdigest()).replace("SIZE", str(len(STATE)))
    (directory / MANIFEST).write_text(text)
    return text


def test_a_bundle_of_version_1_reads_and_forecasts(tmp_path):
    text = lay_out(tmp_path / "bundle", V1_MANIFEST, "forecaster.json")
    bundle, files = read_bundle(tmp_path / "bundle")
    assert bundle.version == "v1"
    assert bundle.conformal.offsets[0] == (-0.1, 0.1 + 0.2)
    assert (bundle.lock_digest, bundle.seed, bundle.frame, bundle.panel) == (None, None, None, ())
    forecaster = load(bundle.model, files)
    assert forecaster.predict(frame_of([1.0, 2.0, 6.0], horizon=2), np.array([2])).tolist() == [[3.0, 3.0]]
    assert bundle.model_dump_json(indent=2) + "\n" == text, "what an older Presage wrote is what it is"


def test_a_bundle_of_version_2_reads_and_gives_each_series_its_own(tmp_path):
    text = lay_out(tmp_path / "bundle", V2_MANIFEST, "series/0/forecaster.json", "series/1/forecaster.json")
    bundle, files = read_bundle(tmp_path / "bundle")
    assert [series.name for series in bundle.panel] == ["BRK.B", "AAPL"]
    assert bundle.panel[0].conformal.offsets == ((0.125,), (0.25,))
    assert load(bundle.model, files_of_series(files, 1)).predict(
        frame_of([1.0, 3.0], horizon=2), np.array([1])
    ).tolist() == [[2.0, 2.0]]
    assert bundle.model_dump_json(indent=2) + "\n" == text


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (('"version": "v1"', '"version": "v2"'), "v2 is that of a panel"),
        (('"model"', '"seed": 0, "model"'), "seed is there since version v3"),
        (
            ('"model"', '"transforms": [{"file": "a", "kind": "Categories", "columns": ["b"]}], "model"'),
            "transforms is",
        ),
    ],
)
def test_an_older_version_says_only_what_it_could_say(tmp_path, change, fault):
    lay_out(tmp_path / "bundle", V1_MANIFEST.replace(*change, 1), "forecaster.json")
    with pytest.raises(LakeError, match=fault):
        read_bundle(tmp_path / "bundle")
