"""The feature config as JSON: what is written is what is read, and nothing else is accepted."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presage.errors import LakeError
from presage.features.config import Dropped, FeatureConfig, from_json, to_json

CONFIG = FeatureConfig(
    kept=("b.Close.lag_1", "ratio(a.x,b.y)"),
    dropped=(Dropped("a.Close.mean_5", "importance 0.0100 is below 0.05"),),
    importance={"b.Close.lag_1": 0.1 + 0.2, "ratio(a.x,b.y)": 0.69, "a.Close.mean_5": 0.01},
)

names = st.text(min_size=1, max_size=12)
configs = st.lists(names, unique=True, max_size=8).flatmap(
    lambda chosen: st.builds(
        lambda cut, shares: FeatureConfig(
            kept=tuple(chosen[:cut]),
            dropped=tuple(Dropped(name, f"because of {name}") for name in chosen[cut:]),
            importance=dict(zip(chosen, shares, strict=False)),
        ),
        st.integers(0, len(chosen)),
        st.lists(st.floats(0, 1), max_size=8),
    )
)


@given(configs)
def test_a_config_is_read_back_as_it_was_written(config: FeatureConfig) -> None:
    assert from_json(to_json(config)) == config


def test_the_same_config_is_written_in_the_same_bytes() -> None:
    assert to_json(CONFIG) == to_json(from_json(to_json(CONFIG)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "v2"}, "version"),
        ({"version": None}, "version"),
        ({"kept": "b"}, "kept"),
        ({"kept": ["b", 3]}, "kept.1"),
        ({"kept": ["b", "b"]}, "'b' is named twice"),
        ({"kept": ["a.Close.mean_5"]}, "'a.Close.mean_5' is named twice"),
        ({"dropped": [{"name": "x"}]}, "dropped.0.reason"),
        ({"importance": {"b": "0.5"}}, "importance.b"),
        ({"importance": {"b": 1.5}}, "importance.b"),
        ({"more": 1}, "more"),
    ],
)
def test_any_other_document_is_refused(change: dict[str, object], words: str) -> None:
    document = json.loads(to_json(CONFIG)) | change
    with pytest.raises(LakeError) as caught:
        from_json(json.dumps(document))
    assert words in caught.value.what
    assert "run the job again" in caught.value.remedy


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "v1", "kept": [], "dropped": []}', "null"])
def test_text_that_is_no_config_is_refused(text: str) -> None:
    with pytest.raises(LakeError):
        from_json(text)
