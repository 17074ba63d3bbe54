"""Test the training settings: their defaults, their command-line options and their record."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from common import cli
from training.checkpoints import without_epochs
from training.config import SIAMESE_RECIPES, BasicConfig, SiameseConfig

RECORDED = {
    "epochs": 1000,
    "batch": 15,
    "dropout": 0.0,
    "plateau": 5,
    "patience": None,
    "artists": None,
    "precision": "float32",
    "seed": 0,
}
RECIPE = {
    "rate": 0.06,
    "schedule": "cosine over 1000 epochs, last weights",
    "encoder": "statistics",
    "loss": "supcon",
    "classification": 1.0,
    "positives": 5,
    "equal_level": True,
    "augment": ["masks"],
}


def parse(*options, kind=SiameseConfig):
    """Return the configuration produced by the given command-line options."""
    parser = cli.training_parser("d", "e", kind())
    own = {"negatives", "margin", "loss", "temperature", "positives", "other_album", "same_genre"}
    parser.set_defaults(given=frozenset())
    for name in (*own, "classification", "labels", "scale"):  # added by the scripts themselves
        parser.set_defaults(**{name: getattr(kind, name, None)})
    args = parser.parse_args(["s.csv", "c.h5", "--out", "runs/x", *options])
    assert (args.split, args.out) == (Path("s.csv"), Path("runs/x"))
    return cli.fill_dataclass(kind, args)


@pytest.mark.parametrize("kind", [BasicConfig, SiameseConfig])
def test_command_line_defaults_match_the_configuration(kind):
    assert parse(kind=kind) == kind()


def test_former_option_names_are_still_accepted():
    renamed = ("--learning-rate", "0.5", "--batch-size", "3", "--max-artists", "7")
    former = ("--rate", "0.5", "--batch", "3", "--artists", "7")
    assert parse(*renamed) == parse(*former)
    assert parse(*former) == SiameseConfig(learning_rate=0.5, batch_size=3, max_artists=7)


def test_record_uses_the_same_keys_as_earlier_runs():
    assert BasicConfig().record() == {**RECORDED, "rate": 0.015, "labels": "artist"}
    siamese = {**RECORDED, "rate": 0.1, "negatives": 4, "margin": 0.4}
    assert SiameseConfig().record() == siamese
    changed = SiameseConfig(precision="mixed", max_artists=7).record()
    assert changed == {**siamese, "precision": "mixed", "artists": 7}
    recipe = SiameseConfig(**SIAMESE_RECIPES["best"]).record()
    assert recipe == {**siamese, **RECIPE} and json.loads(json.dumps(recipe)) == recipe
    augmented = [SiameseConfig(augment=kinds).record() for kinds in ("ba", ["a", "b", "a"])]
    assert augmented == [{**siamese, "augment": ["a", "b"]}] * 2
    # These settings do not change the weights.
    assert parse("--data", "0.5").data == 0.5
    options = ["--data", "resident", "--steps-per-call", "3", "--distribute"]
    assert parse(*options, "--start-from", "a.h5").record() == siamese


def test_models_are_named_after_their_settings():
    best = SiameseConfig(**SIAMESE_RECIPES["best"])
    assert best.name_model("siamese") == "best"
    assert SiameseConfig(learning_rate=1, margin=0.3).name_model("siamese") == "siamese"
    assert BasicConfig(epochs=3).name_model("tag") == "tag"
    assert BasicConfig(equal_level=True).name_model("tag") == "tag, own settings"
    assert replace(best, positives=2).name_model("siamese") == "siamese, own settings"


def test_cosine_schedule_is_recorded_with_its_length():
    """A run with more epochs has other learning rates, so it does not continue a shorter run."""
    records = [BasicConfig(schedule="cosine", epochs=epochs).record() for epochs in (3, 4)]
    assert without_epochs(records[0]) != without_epochs(records[1])
    assert without_epochs(BasicConfig(epochs=3).record()) == without_epochs(BasicConfig().record())


@pytest.mark.parametrize(
    "wrong",
    [
        *("--artists=0", "--steps-per-call=0", "--data=disk", "--data=1.5", "--data=nan"),
        *("--precision=half", "--distribute=2"),
    ],
)
def test_invalid_option_values_are_rejected(capsys, wrong):
    with pytest.raises(SystemExit, match="2"):
        parse(wrong)
    assert wrong.partition("=")[0] in capsys.readouterr().err
