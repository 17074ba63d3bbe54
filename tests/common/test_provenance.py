"""Tests of provenance records and the differences between them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import provenance
from common.errors import InputError


def test_make_record_lists_versions_and_survives_a_json_round_trip():
    record = provenance.make_record({"seed": 1, "name": "日本", "more": {"a": [None, True, 0.1]}})
    assert {"python", "numpy", "librosa", "soundfile"} <= record["versions"].keys()
    restored = json.loads(provenance.to_json(record))
    assert restored == record
    provenance.require_same("x", restored["inputs"], record["inputs"])


def test_list_differences_shows_old_and_new_values():
    old = {"seed": 0, "front_end": {"hop": 512, "gain": 10.0}, "gone": 1}
    new = {"seed": 1, "front_end": {"hop": 256, "gain": 10.0}, "new": "x" * 100}
    differences = provenance.list_differences(old, new)
    assert "seed: 0 -> 1" in differences and "front_end.hop: 512 -> 256" in differences
    assert "gone: 1 -> null" in differences and len(differences) == 4
    with pytest.raises(InputError, match=r"out: already there.*seed: 0 -> 1.*delete it") as caught:
        provenance.require_same("out", old, new)
    assert len(str(caught.value)) < 300


def test_read_sidecar_returns_the_record_and_rejects_damage(tmp_path):
    path = tmp_path / "a.csv"
    assert provenance.sidecar_path(path) == tmp_path / "a.csv.json"
    assert provenance.read_sidecar(path) == {"inputs": {}}
    provenance.sidecar_path(path).write_text(provenance.to_json(provenance.make_record({"a": 1})))
    assert provenance.read_sidecar(path)["inputs"] == {"a": 1}
    provenance.sidecar_path(path).write_text('{"other": 1}')
    assert provenance.read_sidecar(path) == {"inputs": {}}
    for wrong in ("", "[1]", '{"inputs":'):
        provenance.sidecar_path(path).write_text(wrong)
        with pytest.raises(InputError, match="not a provenance record"):
            provenance.read_sidecar(path)


ROWS = st.lists(st.tuples(st.text("ab", max_size=2), st.text("ab", max_size=2)), max_size=3)


@given(ROWS, ROWS)
@settings(deadline=None, derandomize=True, max_examples=200)
def test_digest_rows_differs_exactly_if_rows_differ(one, other):
    assert (provenance.digest_rows(one) == provenance.digest_rows(other)) == (one == other)


def test_describe_model_gives_fine_tuned_weights_no_number_of_artists():
    inputs = {"name": "mine", "model": "siamese", "artists": 40, "settings": {"seed": 3}}
    scratch = {"name": "mine", "model": "siamese", "artists": 40, "seed": 3}
    assert provenance.describe_model(inputs) == scratch
    start = {"name": "siamese_5000", "sha256": "ab", "artists": 5000, "mean": 0.2}
    tuned = provenance.describe_model({**inputs, "start_from": start})
    initial = {"name": "siamese_5000", "sha256": "ab"}
    assert tuned == {
        **{**scratch, "model": "siamese fine-tuned", "artists": None},
        "start_from": initial,
    }
    assert provenance.is_model_record(tuned)
    assert not provenance.is_model_record({**tuned, "start_from": "siamese_5000"})
