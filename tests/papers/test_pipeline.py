"""A plan: what is done is not done again, what changed is, and times are learnt."""

from dataclasses import replace

import pytest

from common.errors import InputError
from papers import effort, pipeline
from papers.effort import Work
from papers.pipeline import Pipeline, make_step

# A script that copies its first file, with a word, to its second; or fails.
SCRIPT = """
import os, sys
given, out, *word = sys.argv[1:]
if word == ["fail"]:
    sys.exit("no")
if word == ["stop"]:
    os.kill(os.getpid(), 9)
if word == ["keep"]:
    sys.exit(0)
open(out, "w").write(open(given).read() + " ".join(word))
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "a").write_text("a")
    monkeypatch.setattr(pipeline, "ROOT", tmp_path)
    return tmp_path


def steps(place, *words):
    """a -> b -> c, and c -> d."""
    names = ["a", "b", "c", "d"]
    words = words or ("1", "2", "3")
    return [
        make_step(
            "script.py",
            *(place / source, place / out, word),
            makes=place / out,
            of=(place / source,),
            work=Work("extract", 10),
        )
        for source, out, word in zip(names, names[1:], words, strict=False)
    ]


def run(made: Pipeline) -> list[str]:
    said = []
    made.run(said.append)
    return [line.split("/")[-1] for line in said]


def test_each_step_is_said_and_done_in_order_and_once(place):
    made = Pipeline(place, steps(place))
    assert run(made) == ["b 1", "c 2", "d 3"]
    assert (place / "d").read_text() == "a123"
    again = Pipeline(place, steps(place))
    assert again.to_do() == [] and run(again) == []
    assert again.lines()[-1] == "3 of 3 steps are done"
    assert all(line.startswith("    done  python script.py") for line in again.lines()[:-1])


def test_what_comes_after_a_change_is_done_again(place):
    run(Pipeline(place, steps(place)))
    (place / "c").unlink()
    assert [one.makes.name for one in Pipeline(place, steps(place)).to_do()] == ["c", "d"]
    run(Pipeline(place, steps(place)))
    (place / "a").write_text("A")
    assert [one.makes.name for one in Pipeline(place, steps(place)).to_do()] == ["b", "c", "d"]
    run(Pipeline(place, steps(place)))
    assert (place / "d").read_text() == "A123"
    assert [one.makes.name for one in Pipeline(place, steps(place, "1", "9", "3")).to_do()] == [
        "c",
        "d",
    ]


def test_what_needs_a_failure_is_left_out_and_the_next_run_goes_on_from_there(place):
    broken, fine = (
        steps(place, "1", "fail", "3"),
        make_step(
            "script.py",
            *(place / "a", place / "e", "5"),
            makes=place / "e",
            of=(place / "a", place / "d"),
            work=Work("extract", 10),
        ),
    )
    made, said = Pipeline(place, [*broken, replace(fine, of_any=True)]), []
    with pytest.raises(InputError, match=r"^script\.py ended with 1 for .*c; see above, then run"):
        made.run(said.append)
    assert [line.split(" ")[1] for line in said] == ["python", "python", "left", "python"]
    assert said[2].startswith("[3/4] left out, for want of ") and (place / "e").exists()
    (place / "e").unlink()
    with pytest.raises(InputError):
        Pipeline(place, [*broken, fine]).run(said.append)
    assert not (place / "e").exists()
    assert run(Pipeline(place, steps(place))) == ["c 2", "d 3"]


def test_what_stops_a_step_from_outside_stops_all(place):
    stopped = steps(place, "1", "stop", "3")
    others = [replace(one, of=()) for one in stopped]
    with pytest.raises(InputError, match=r"script\.py was ended by signal 9; run this again"):
        run(Pipeline(place, others))
    assert not (place / "d").exists()


def test_a_step_that_leaves_nothing_is_an_error(place):
    with pytest.raises(InputError, match=r"b is not there though script\.py was to make it; if"):
        run(Pipeline(place, steps(place, "keep")))


def test_all_that_a_step_leaves_has_to_be_there(place):
    (place / "x").touch()
    first = [replace(one, also=(place / "x",)) for one in steps(place)[:1]]
    run(Pipeline(place, first))
    assert Pipeline(place, first).to_do() == []
    (place / "x").unlink()
    assert Pipeline(place, first).to_do() == first


def test_the_files_that_no_step_makes_are_given(place):
    assert Pipeline(place, steps(place)).given() == [place / "a"]


def test_what_its_script_found_complete_is_done_and_teaches_no_time(place):
    run(Pipeline(place, steps(place)))
    (place / pipeline.JOURNAL).unlink()
    (place / "b").write_text("a1")
    made = Pipeline(place, steps(place, "keep"))
    assert run(made) == ["b keep"]
    [row] = pipeline.read_journal(place).values()
    assert row["seconds"] is None
    assert Pipeline(place, steps(place, "keep")).to_do() == []
    assert Pipeline(place, []).seconds(made.steps) == pytest.approx(made.steps[0].work.seconds)


def test_times_are_those_that_steps_of_the_kind_took_here(place):
    one = steps(place)[0]
    journal = f"command,kind,amount,seconds\nx,extract,10,{5 * one.work.seconds}\n"
    (place / pipeline.JOURNAL).write_text(journal)
    made = Pipeline(place, steps(place))
    assert made.seconds([one]) == pytest.approx(5 * one.work.seconds)
    assert made.lines()[-1].startswith("0 of 3 steps are done; the others take about ")


def test_an_unknown_amount_is_told(place):
    one = make_step("script.py", "x", makes=place / "x", of=(), work=Work("basic", None))
    lines = Pipeline(place, [one]).lines()
    assert lines[0] == "       ?  python script.py x"
    assert lines[1].endswith(" and 1 of unknown time")


@pytest.mark.parametrize(
    "text", ["a\nb\n", "command,kind\nx,y\n", "command,kind,amount,seconds\nx,extract,high,\n"]
)
def test_a_damaged_journal_is_refused_by_name(place, text):
    (place / pipeline.JOURNAL).write_text(text)
    with pytest.raises(InputError, match=r"steps\.csv: damaged .*; delete it"):
        Pipeline(place, [])


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (59, "59 s"), (100, "2 min"), (5400, "1.5 h"), (7200, "2 h"), (4e5, "5 days")],
)
def test_times_are_said_as_people_do(seconds, said):
    assert effort.told(seconds) == said
