"""Tests of reading the training logs in a run folder."""

import json

import pytest

from common.errors import InputError
from report.training_logs import LIKELIHOOD, read_training_logs


def write(folder, name, text, record=None):
    run = folder / name
    run.mkdir(parents=True)
    (run / "log.csv").write_text(text)
    if record is not None:
        (run / "run.json").write_text(json.dumps(record))


def test_read_training_logs_supports_all_model_types(tmp_path):
    inputs = {"model": "siamese", "artists": 9, "settings": {"seed": 3}}
    record = {"inputs": inputs, "backend": "jax"}
    write(tmp_path, "mine", "epoch,loss,val_loss,rate\n1,2.0,3.0,0.1\n2,1.0,2.5,0.1\n", record)
    write(tmp_path, "stn_g_0/networks", "epoch,loss\n1,2.0\n", {"inputs": {"model": "stn g"}})
    # A run without run.json is unfinished.
    write(tmp_path, "basic_10_0", "epoch,loss,val_loss\n1,2.0,3.0\n")
    (tmp_path / "ivector_10_0").mkdir()
    text = "model,log_likelihood\nubm,-3\nubm,-2\ntotal variability,-1\n"
    (tmp_path / "ivector_10_0/ivector.csv").write_text(text)
    logs = {log.kind: log for log in read_training_logs(tmp_path)}
    assert set(logs) == {"basic", "siamese", "stn", "ubm", "total variability"}
    mine, ubm = logs["siamese"], logs["ubm"]
    assert (mine.name, mine.metric, ubm.metric) == ("mine", "loss", LIKELIHOOD)
    assert [*mine.inputs.values(), mine.backend] == ["siamese", 9, None, 3, "jax"]
    assert mine.curves.to_dict("list") == {"training": [2, 1], "validation": [3, 2.5]}
    assert logs["stn"].name == "stn_g_0" and list(logs["stn"].curves) == ["training"]
    assert logs["basic"].inputs["model"] == "basic" and logs["basic"].inputs["artists"] is None
    assert ubm.curves["training"].tolist() == [-3, -2]
    assert mine.curves.index.tolist() == ubm.curves.index.tolist() == [1, 2]


@pytest.mark.parametrize("text", ["epoch,loss\n", "epoch\n1\n", "epoch,loss\n1,high\n"])
def test_read_training_logs_rejects_a_damaged_log(tmp_path, text):
    write(tmp_path, "mine", text)
    with pytest.raises(InputError, match=r"mine/log\.csv: not the log of a training run; delete"):
        read_training_logs(tmp_path)


@pytest.mark.parametrize(
    "inputs", [None, {"model": 5}, {"model": ""}, {"settings": None}, {"cache": [1]}]
)
def test_read_training_logs_rejects_a_damaged_record(tmp_path, inputs):
    write(tmp_path, "mine", "epoch,loss\n1,2\n", {"inputs": inputs})
    with pytest.raises(InputError, match=r"run\.json: not the record of a training"):
        read_training_logs(tmp_path)
