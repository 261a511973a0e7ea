"""What every model's bundle is made of: formats that hold data and no code, and nothing that was changed is read."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import pickle
import pickletools
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

import bundle_case
import cloudpickle
import joblib
import numpy as np
import pytest
from bundle_case import KINDS, dumped, small_frame

from presage.errors import LakeError
from presage.models import learners, registry
from presage.models.bundle import MANIFEST, read_bundle

EVERY_KIND = pytest.mark.parametrize(("task", "name"), KINDS, ids=[f"{task}-{name}" for task, name in KINDS])
PARAMETERS_ALONE = {"forecaster.json"}
STEPS = {
    **dict.fromkeys(("naive", "seasonal_naive", "drift", "window_mean", "zero", "median"), ""),
    **dict.fromkeys(("theta", "auto_arima", "auto_ets", "prophet"), ""),
    **dict.fromkeys(("ridge", "elastic_net", "logistic_regression"), "json"),
    **dict.fromkeys(("random_forest", "hist_gradient_boosting"), "onnx"),
    "xgboost": "ubj",
    "lightgbm": "txt",
    "catboost": "cbm",
}
"""By model, the ending of its learnt files beside `forecaster.json`; empty where that file holds all."""
CONSTANTS = {("Regression", "median"), ("Classification", "prevalence")}


def expected_files(task: str, name: str) -> set[str]:
    if name in ("mean_combination", "weighted_combination"):
        ridge = {f"ridge/{file}" for file in expected_files("Forecast", "ridge")}
        return PARAMETERS_ALONE | {f"member/{file}" for file in ridge} | {"member/naive/forecaster.json"}
    if (task, name) in CONSTANTS:
        return {*PARAMETERS_ALONE, "model.mean"}
    if not STEPS[name]:
        return PARAMETERS_ALONE
    if task == "Forecast":
        return PARAMETERS_ALONE | {f"step_{step}.{STEPS[name]}" for step in range(1, bundle_case.HORIZON + 1)}
    return {*PARAMETERS_ALONE, f"model.{STEPS[name]}"}


# Each format by its own grammar: a file that is read to its last byte as this kind of data is no other.


def is_json(content: bytes) -> bool:
    try:
        json.loads(content.decode())
    except ValueError:
        return False
    return True


def is_ubjson(content: bytes) -> bool:
    stream = io.BytesIO(content)
    try:
        _ubjson(stream, stream.read(1))
    except (ValueError, struct.error, KeyError):
        return False
    return not stream.read()


_NUMBERS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q", b"d": ">f", b"D": ">d"}


def _ubjson(stream: io.BytesIO, marker: bytes) -> object:
    """Read a value of Universal Binary JSON; raises ValueError, KeyError or struct.error for anything else."""
    if marker in (b"Z", b"T", b"F"):
        return marker
    if marker == b"S":
        return _text(stream)
    if marker in (b"{", b"["):
        return _container(stream, is_object=marker == b"{")
    form = _NUMBERS[marker]
    return struct.unpack(form, stream.read(struct.calcsize(form)))[0]


def _text(stream: io.BytesIO) -> str:
    length = _ubjson(stream, stream.read(1))
    assert isinstance(length, int)
    content = stream.read(length)
    if len(content) < length:
        raise ValueError("cut off")
    return content.decode()


def _container(stream: io.BytesIO, *, is_object: bool) -> None:
    kind, count = None, None
    marker = stream.read(1)
    if marker == b"$":
        kind = stream.read(1)
        marker = stream.read(1)
    if marker == b"#":
        count = _ubjson(stream, stream.read(1))
        marker = b""
    end, found = (b"}" if is_object else b"]"), 0
    while found != count:
        marker = marker or (stream.read(1) if count is None or (kind is None and not is_object) else b"")
        if count is None and marker == end:
            return
        if is_object:
            stream.seek(-len(marker), io.SEEK_CUR)
            _text(stream)
            marker = b""
        _ubjson(stream, kind or marker or stream.read(1))
        marker, found = b"", found + 1


def is_onnx(content: bytes) -> bool:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError):
        return False
    outside = [tensor.external_data for tensor in model.graph.initializer if tensor.external_data]
    return {node.domain for node in model.graph.node} <= {"", "ai.onnx.ml"} and not outside and not model.functions


def is_catboost(content: bytes) -> bool:
    # A header of four letters and a size, then one flatbuffer of that size, as symmetric trees of numbers need.
    return content[:4] == b"CBM1" and len(content) == 8 + struct.unpack("<I", content[4:8])[0]


def is_lightgbm(content: bytes) -> bool:
    line = re.compile(r"[A-Za-z0-9_]+=.*|\[[a-z0-9_]+: .*\]|tree|end of trees|feature_importances:|parameters:|"
                      r"end of parameters|pandas_categorical:.*|")  # fmt: skip
    try:
        lines = content.decode("ascii").split("\n")
    except ValueError:
        return False
    return lines[0] == "tree" and all(line.fullmatch(one) for one in lines)


GRAMMARS = {
    "json": is_json, "mean": is_json, "ubj": is_ubjson, "onnx": is_onnx, "cbm": is_catboost, "txt": is_lightgbm,
}  # fmt: skip


def is_data(name: str, content: bytes) -> bool:
    """Return whether a file is data of the kind that its name says, and has no pickle or archive inside."""
    grammar = GRAMMARS.get(name.rpartition(".")[2])
    return grammar is not None and grammar(content) and not holds_pickle(content) and not holds_archive(content)


def holds_pickle(content: bytes) -> bool:
    """Return whether a pickle that calls something starts anywhere in a content."""
    return any(_calls(content[start.start() :]) for start in re.finditer(rb"\x80[\x02-\x05]", content))


def _calls(content: bytes) -> bool:
    try:
        names = {opcode.name for opcode, _, _ in pickletools.genops(content)}
    except ValueError:
        return False
    return not names.isdisjoint({"GLOBAL", "STACK_GLOBAL", "REDUCE", "INST", "OBJ", "NEWOBJ", "BUILD"})


def holds_archive(content: bytes) -> bool:
    magic = (b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"\x93NUMPY", b"\x89HDF\r\n")
    return any(one in content for one in magic) or zipfile.is_zipfile(io.BytesIO(content))


@EVERY_KIND
def test_a_models_files_are_those_of_the_table(task, name):
    assert set(dumped(task, name)) == expected_files(task, name)


@EVERY_KIND
def test_a_models_files_hold_data_and_no_code(task, name):
    for file, content in dumped(task, name).items():
        assert is_data(file, content), f"{file} of {name} is not what its name says, or holds more than data"


class Trap:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (eval, ("1 + 1",))


def joblib_bytes(value: object, **options: object) -> bytes:
    stream = io.BytesIO()
    joblib.dump(value, stream, **options)
    return stream.getvalue()


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("data.pkl", content)
    return stream.getvalue()


TRAPS: dict[str, bytes] = {
    **{f"pickle {protocol}": pickle.dumps(Trap(), protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)},
    "pickled dictionary": pickle.dumps({"a": 1}),
    "cloudpickle": cloudpickle.dumps(lambda: 1),
    "joblib": joblib_bytes(np.arange(3)),
    "joblib, zlib": joblib_bytes(Trap(), compress=("zlib", 3)),
    "joblib, gzip": joblib_bytes(Trap(), compress=("gzip", 3)),
    "zlib": zlib.compress(pickle.dumps(Trap())),
    "bzip2": bz2.compress(pickle.dumps(Trap())),
    "xz": lzma.compress(pickle.dumps(Trap())),
    "a zip with a pickle": zipped(pickle.dumps(Trap())),
}


@pytest.mark.parametrize("ending", GRAMMARS)
@pytest.mark.parametrize("trap", TRAPS)
def test_code_under_the_name_of_data_is_found(trap, ending):
    assert not is_data(f"step_1.{ending}", TRAPS[trap])


@pytest.mark.parametrize("ending", ["pkl", "pickle", "joblib", "npy", "zip", "skops", ""])
def test_a_file_of_no_known_kind_is_found(ending):
    assert not is_data(f"model.{ending}", b"{}")


@pytest.mark.parametrize("kind", [("Forecast", name) for name in ("xgboost", "catboost", "random_forest", "lightgbm")])
def test_a_pickle_inside_or_behind_a_models_file_is_found(kind):
    file, content = next((file, content) for file, content in dumped(*kind).items() if file.startswith("step_"))
    trap = pickle.dumps(Trap())
    for spoilt in (content + trap, content[: len(content) // 2] + trap + content[len(content) // 2 :]):
        assert not is_data(file, spoilt)


# Loading


@pytest.fixture
def no_code_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way to read a pickle fails."""

    def reached(*_: object, **__: object) -> None:
        raise AssertionError("a pickle is read")

    for module in (pickle, joblib, cloudpickle):
        for function in ("load", "loads", "Unpickler", "_Unpickler", "_load", "_loads"):
            if hasattr(module, function):
                monkeypatch.setattr(module, function, reached)
    monkeypatch.setattr("joblib.numpy_pickle.NumpyUnpickler", reached)
    monkeypatch.setattr(np.lib.format, "read_array", reached)


@EVERY_KIND
def test_a_bundle_is_written_read_and_used_without_a_pickle(no_code_is_loaded, tmp_path, task, name):
    bundle_case.write(tmp_path / "bundle", task, name)
    bundle, files = read_bundle(tmp_path / "bundle")
    frame = small_frame()
    if task == "Forecast":
        values = registry.load(bundle.model, files).predict(frame, np.array([len(frame) - 1]))
    else:
        values = learners.load(bundle.model, files).predict(frame.features[-3:])
    assert np.isfinite(values).all()


def test_the_watch_over_pickles_sees_one(no_code_is_loaded):
    with pytest.raises(AssertionError, match="a pickle is read"):
        pickle.loads(pickle.dumps(1))
    with pytest.raises(AssertionError, match="a pickle is read"):
        joblib.load(io.BytesIO(b""))


# What was changed


def flipped(content: bytes, place: int, bit: int) -> bytes:
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]


@EVERY_KIND
def test_one_bit_that_is_flipped_in_any_file_is_found(tmp_path, task, name):
    directory = tmp_path / "bundle"
    bundle_case.write(directory, task, name)
    chance = random.Random(name)
    for path in [path for path in directory.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        places = {0, len(content) // 2, len(content) - 1, *(chance.randrange(len(content)) for _ in range(12))}
        for place in sorted(places):
            path.write_bytes(flipped(content, place, chance.randrange(8)))
            with pytest.raises(LakeError):
                read_bundle(directory)
        path.write_bytes(content)
    read_bundle(directory)


def test_every_bit_of_a_manifest_counts(tmp_path):
    directory = tmp_path / "bundle"
    bundle_case.write(directory, "Forecast", "naive")
    manifest = directory / MANIFEST
    content = manifest.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            manifest.write_bytes(flipped(content, place, bit))
            with pytest.raises(LakeError):
                read_bundle(directory)


@EVERY_KIND
def test_a_file_that_is_cut_off_is_found(tmp_path, task, name):
    directory = tmp_path / "bundle"
    bundle_case.write(directory, task, name)
    for path in [path for path in directory.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        for length in (0, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:length])
            with pytest.raises(LakeError):
                read_bundle(directory)
        path.write_bytes(content)
