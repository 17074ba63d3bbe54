import logging
import shlex
from dataclasses import replace

import pytest

from common.errors import InputError
from papers import pipeline
from papers.pipeline import Pipeline, make_step

# A script that copies its first file to its second and appends the remaining arguments. With the
# argument "fail", "stop" or "keep", it exits with an error, kills itself, or does nothing instead.
SCRIPT = """
import os, sys
source, out, *words = sys.argv[1:]
if words == ["fail"]:
    sys.exit("no")
if words == ["stop"]:
    os.kill(os.getpid(), 9)
if words != ["keep"]:
    open(out, "w").write(open(source).read() + " ".join(words))
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "a").write_text("a")
    monkeypatch.setattr(pipeline, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def run(place, caplog):
    """Return a function that runs steps in `place` and returns the log lines without paths."""
    caplog.set_level(logging.INFO, "papers")

    def run(steps):
        caplog.clear()
        Pipeline(place, steps).run()
        return [line.split("/")[-1] for line in caplog.messages]

    return run


def make_steps(place, *words):
    """Return the chain of steps a -> b -> c -> d, one for each of the words."""
    steps = []
    for source, out, word in zip("abc", "bcd", words or ("1", "2", "3"), strict=False):
        files = (place / source, place / out)
        steps.append(make_step("script.py", *files, word, output=files[1], inputs=files[:1]))
    return steps


def remaining(place, *words) -> list[str]:
    steps = Pipeline(place, make_steps(place, *words)).remaining_steps()
    return [step.output.name for step in steps]


def test_pipeline_runs_each_step_once_in_order(place, run):
    steps = make_steps(place)
    assert Pipeline(place, steps).existing_inputs() == [place / "a"]
    assert run(steps) == ["b 1", "c 2", "d 3"]
    assert (place / "d").read_text() == "a123"
    assert remaining(place) == [] and run(steps) == []
    lines = Pipeline(place, steps).describe()
    assert lines[-1] == "3 of 3 steps are done"
    assert all(line.startswith("    done  python script.py") for line in lines[:-1])


def test_pipeline_reruns_steps_affected_by_a_change(place, run):
    run(make_steps(place))
    (place / "c").unlink()
    assert remaining(place) == ["c", "d"]
    run(make_steps(place))
    (place / "a").write_text("A")
    assert remaining(place) == ["b", "c", "d"]
    run(make_steps(place))
    assert (place / "d").read_text() == "A123"
    assert remaining(place, "1", "9", "3") == ["c", "d"]


def test_pipeline_compares_steps_with_each_shard_of_a_cache(place, run):
    shards = [place / "cache-00000.h5", place / "cache-00001.h5"]
    for shard in shards:
        shard.touch()
    cache, out = place / "cache.h5", place / "b"
    step = make_step("script.py", place / "a", out, "1", output=out, inputs=[cache])
    run([step])
    assert Pipeline(place, [step]).remaining_steps() == []
    shards[1].touch()
    assert Pipeline(place, [step]).remaining_steps() == [step]
    for shard in shards:
        shard.unlink()
    assert Pipeline(place, [step]).remaining_steps() == [step]


def test_pipeline_runs_independent_steps_after_a_failure(place, run, caplog):
    broken = make_steps(place, "1", "fail", "3")
    files, inputs = (place / "a", place / "e"), (place / "a", place / "d")
    last = make_step("script.py", *files, output=files[1], inputs=inputs, needs_all_inputs=False)
    with pytest.raises(InputError, match=r"^script\.py failed with exit status 1 for .*c; see the"):
        run([*broken, last])
    assert caplog.messages[2].startswith(f"[3/4] skipped: missing input {place}/c: python")
    assert (place / "e").exists()
    (place / "e").unlink()
    with pytest.raises(InputError):
        run([*broken, replace(last, needs_all_inputs=True)])
    assert not (place / "e").exists()
    assert run(make_steps(place)) == ["c 2", "d 3"]


def test_pipeline_stops_if_a_step_is_killed(place, run):
    steps = [replace(step, inputs=()) for step in make_steps(place, "1", "stop", "3")]
    with pytest.raises(InputError, match=r"script\.py was terminated by signal 9; run this again"):
        run(steps)
    assert not (place / "d").exists()


def test_pipeline_checks_all_outputs_of_a_step(place, run):
    with pytest.raises(InputError, match=r"script\.py did not create .*b; if it reports"):
        run(make_steps(place, "keep"))
    (place / "x").touch()
    steps = [replace(step, other_outputs=(place / "x",)) for step in make_steps(place, "1")]
    run(steps)
    assert Pipeline(place, steps).remaining_steps() == []
    (place / "x").unlink()
    assert Pipeline(place, steps).remaining_steps() == steps


def test_pipeline_records_no_time_for_a_complete_output(place, run):
    (place / "b").write_text("a1")
    steps = make_steps(place, "keep")
    assert run(steps) == ["b keep"]
    assert pipeline.read_journal(place) == {str(steps[0]): None}
    assert remaining(place, "keep") == []


def test_pipeline_shows_durations_recorded_in_the_journal(place):
    first, *_ = steps = make_steps(place)
    (place / pipeline.JOURNAL).write_text(f"command,seconds\n{first},3725.4\n")
    lines = Pipeline(place, steps).describe()
    assert lines[0].startswith(" 1:02:05  python") and lines[1].startswith(" " * 10 + "python")
    assert lines[-1] == "0 of 3 steps are done; 1 of the others took 1:02:05 the last time"


def test_journal_of_an_earlier_version_is_read(place):
    """Test that extra columns are ignored and former option names are updated or removed."""
    (place / pipeline.JOURNAL).write_text(
        "command,kind,amount,seconds\n"
        "python train_siamese.py 'a b' --artists 4 --rate 0.1 --batch 9,siamese,60,2.5\n"
        "python evaluate.py lda --train-artists 4 --allow-failures --train x,judge,,\n"
    )
    first, second = pipeline.read_journal(place).items()
    options = ["--max-artists", "4", "--learning-rate", "0.1", "--batch-size", "9"]
    assert first == (shlex.join(["python", "train_siamese.py", "a b", *options]), 2.5)
    assert second == ("python evaluate.py lda --max-train-artists 4 --train x", None)


@pytest.mark.parametrize("text", ["a\nb\n", "command\nx\n", "command,seconds\nx,high\n"])
def test_damaged_journal_is_rejected(place, text):
    (place / pipeline.JOURNAL).write_text(text)
    with pytest.raises(InputError, match=r"steps\.csv: the journal is damaged .*; delete it"):
        Pipeline(place, [])


# A script that prints a line in two parts, and waits in between until another one has begun or
# another file exists. It writes its times and, with the argument "fail", exits with an error.
WAIT = """
import os, sys, time
out, other, *words = sys.argv[1:]
started = time.time()
open(out + ".begun", "w")
print(f"begin {out[-1]}", end=" ", flush=True)
while not os.path.exists(other):
    time.sleep(0.01)
    if time.time() > started + 30:
        sys.exit(f"{out} waits for {other} in vain")
print(f"end {out[-1]}", flush=True)
open(out, "w").write(f"{started} {time.time()}")
sys.exit(words == ["fail"])
"""


@pytest.fixture
def step(place, monkeypatch):
    """Return a function that returns a step of WAIT, on a machine with a GPU and two cores."""
    monkeypatch.setattr(pipeline, "SIDE_BY_SIDE", 2)
    monkeypatch.setattr(pipeline, "HAS_ACCELERATOR", True)
    for script in ("train.py", "evaluate.py"):
        (place / script).write_text(WAIT)

    def step(script, name, source, other="a", *words):
        files = place / name, place / other
        return make_step(script, *files, *words, output=files[0], inputs=[place / source])

    return step


def overlap(place, first: str, second: str) -> bool:
    times = [list(map(float, (place / name).read_text().split())) for name in (first, second)]
    return max(start for start, _ in times) < min(end for _, end in times)


def test_pipeline_runs_steps_beside_others_once_their_inputs_exist(place, run, step):
    """Test that b and f run side by side, and then c and d, for which b must have ended."""
    trainings = [step("train.py", "b", "a", "f.begun"), step("train.py", "c", "a", "d.begun")]
    scores = [step("evaluate.py", "d", "b", "c.begun"), step("evaluate.py", "e", "c")]
    assert len(run([*trainings, *scores, step("evaluate.py", "f", "a", "b.begun")])) == 5
    assert not overlap(place, "b", "c") and not overlap(place, "c", "e")
    assert len(pipeline.read_journal(place)) == 5


def test_pipeline_trains_models_side_by_side_without_a_gpu(place, run, step, monkeypatch):
    monkeypatch.setattr(pipeline, "HAS_ACCELERATOR", False)
    (place / "data_prep").mkdir()
    (place / "data_prep/cache.py").write_text(WAIT)
    steps = [step("data_prep/cache.py", name, "a") for name in "bc"]
    run([*steps, step("train.py", "d", "c", "e.begun"), step("train.py", "e", "c", "d.begun")])
    assert not overlap(place, "b", "c")


def test_pipeline_does_not_mix_the_output_of_steps(place, step, caplog, capfd):
    caplog.set_level(logging.INFO, "papers")
    steps = [step("train.py", "b", "a", "d"), *(step("evaluate.py", name, "a") for name in "cd")]
    Pipeline(place, steps).run()
    assert capfd.readouterr().out == "begin b end b\n"
    assert caplog.messages == [
        f"[1/3] {steps[0]}",
        f"[2/3] {steps[1]}\nbegin c end c",
        f"[3/3] {steps[2]}\nbegin d end d",
    ]


def test_pipeline_ends_other_steps_if_one_is_killed(place, step, caplog):
    caplog.set_level(logging.INFO, "papers")
    (place / "evaluate.py").write_text(SCRIPT)
    killed = make_step("evaluate.py", place / "a", "c", "stop", output=place / "c", inputs=[])
    with pytest.raises(InputError, match=r"evaluate\.py was terminated by signal 9; run this"):
        Pipeline(place, [step("train.py", "b", "a", "never"), killed]).run()
    assert not (place / "b").exists()
    assert caplog.messages[-1] == f"[2/2] {killed}"


def test_pipeline_skips_steps_whose_inputs_failed_beside_a_running_step(place, step, caplog):
    caplog.set_level(logging.INFO, "papers")
    failing = step("evaluate.py", "c", "a", "a", "fail")
    steps = [step("train.py", "b", "a", "c"), failing, step("evaluate.py", "d", "c")]
    with pytest.raises(InputError, match=r"^evaluate\.py failed with exit status 1 for .*c; see"):
        Pipeline(place, steps).run()
    assert caplog.messages[-1].startswith(f"[3/3] skipped: missing input {place}/c: python")
    assert (place / "b").exists() and list(pipeline.read_journal(place)) == [str(steps[0])]
