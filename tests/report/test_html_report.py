"""The report: whole, by itself, with every number and need, and safe whatever names there are."""

import json
import re
from html.parser import HTMLParser

import pytest

from evaluation.results import read_results
from papers.paper_tables import compare_with_paper
from report import html_report
from tests import browser
from tests.conftest import error_in_process, run_in_process
from tests.evaluation.result_files import RESULT

HOSTILE = "</style><script>document.title='x'</script><img src=x onerror=alert(1)> {{7*7}} \"'"


@pytest.fixture
def folder(tmp_path):
    """Results with hostile names, a training, a page of songs and a journal."""
    results = {
        "one": {},
        "two": {"model": "basic", "features": HOSTILE, "artists": 500, "value": 0.25},
        "knn": {
            "protocol": "knn",
            "metric": "accuracy",
            "features": "siamese_500_0",
            "artists": 500,
            "seed": 0,
            "details": {"accuracy of each genre": {HOSTILE: 0.5}},
            "made_from": {
                "inputs": {
                    "features": [{"weights": {"name": HOSTILE, "sha256": "ab" * 32}}],
                    "settings": {"seed": 7},
                },
                "versions": {"keras": "3.0", HOSTILE: "1"},
            },
            "command": f"python evaluate.py {HOSTILE}",
        },
        "map": {
            "protocol": "tsne",
            "metric": "kl_divergence",
            "details": {"map": {"x": [0.0, 1.0], "y": [0.0, 1.0], "label": [HOSTILE, "b"]}},
        },
    }
    for name, change in results.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(RESULT | change))
    run = tmp_path / "runs/siamese_500_0"
    run.mkdir(parents=True)
    (run / "log.csv").write_text("epoch,loss,val_loss\n1,2.5,2.25\n2,2.0,2.125\n")
    inputs = {"model": "siamese", "artists": 500, "settings": {"seed": 3}}
    (run / "run.json").write_text(json.dumps({"inputs": inputs, "backend": HOSTILE}))
    (tmp_path / "songs_a&b.html").write_text("")
    return tmp_path


class _Read(HTMLParser):
    """Elements and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements, self.text = [], ""

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, text):
        self.text += text


def read(path) -> _Read:
    made = _Read()
    made.feed(path.read_text(encoding="utf-8"))
    return made


def test_every_number_and_every_need_of_the_papers_is_in_it(folder):
    ran = run_in_process("evaluate.py", "report", "--results", folder)
    assert ran.lines == [f"{folder / 'report.html'}"]
    found = read(folder / "report.html")
    cells = compare_with_paper(read_results(folder))
    for need in set(cells["needs"]) - {""}:
        assert need in found.text
    for number in cells["paper's"].dropna():
        assert f"{number:.4f}" in found.text
    assert "ismir2018: 1 of 31 numbers" in found.text


def test_it_shows_figures_curves_and_what_it_was_made_from(folder):
    html_report.write_report(folder)
    found = read(folder / "report.html")
    pictures = [one for tag, one in found.elements if tag == "img"]
    assert all(one["src"].startswith("data:image/svg+xml;base64,") for one in pictures)
    drawn = {path.name for path in folder.glob("*.png")}
    assert len(pictures) == len(drawn) and "training_siamese.png" in drawn
    assert all(one["alt"] for one in pictures)
    for told in ("ab" * 32, "2.1250", f"python evaluate.py {HOSTILE}", "keras", "one.json"):
        assert told in found.text
    assert "arxiv2017, Figure 2: " in found.text  # which is not drawn
    links = [one["href"] for tag, one in found.elements if tag == "a"]
    assert "songs_a%26b.html" in links
    assert {link[1:] for link in links if link.startswith("#")} <= {
        one.get("id") for _, one in found.elements
    }
    assert {"tables.csv", "tables.md", "tables.tex", "summary.md", "figures.csv"} <= {
        path.name for path in folder.iterdir()
    }


def test_the_journal_says_which_commands_made_it(folder):
    (folder / "steps.csv").write_text("command,kind,amount,seconds\npython x.py,basic,1,2\n")
    html_report.write_report(folder)
    text = read(folder / "report.html").text
    assert "python x.py" in text and text.count(f"python evaluate.py {HOSTILE}") == 1


def test_it_is_one_file_without_a_script_and_names_are_text(folder):
    html_report.write_report(folder)
    found = read(folder / "report.html")
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.elements}
    assert not any(name.startswith("on") for _, one in found.elements for name in one)
    outer = [one.get("src") or one.get("href", "") for _, one in found.elements]
    assert not any(re.match(r"(https?:|//|javascript:)", address) for address in outer)
    assert HOSTILE in found.text and "49" not in found.text.split(HOSTILE)[1][:5]
    policy = next(one["content"] for tag, one in found.elements if "http-equiv" in one)
    assert policy.startswith("default-src 'none'; img-src data:; ")


def test_the_same_results_make_the_same_page(folder):
    first = html_report.write_report(folder).read_bytes()
    assert html_report.write_report(folder).read_bytes() == first


def test_a_folder_without_results_tells_what_all_cells_need(tmp_path):
    html_report.write_report(tmp_path)
    text = read(tmp_path / "report.html").text
    assert "agf2018: 0 of 146 numbers" in text and "[1] GTZAN audio" in text
    assert "No training lies in the folder runs" in text


@pytest.mark.parametrize(
    "made_from",
    [{"inputs": [1], "versions": [2]}, {"inputs": {"settings": 3, "weights": 4}, "versions": 5}],
)
def test_a_record_of_another_shape_is_no_fault(folder, made_from):
    (folder / "one.json").write_text(json.dumps(RESULT | {"made_from": made_from}))
    html_report.write_report(folder)


def test_damaged_inputs_are_refused_and_leave_the_page_there_was(folder):
    before = html_report.write_report(folder).read_bytes()
    (folder / "runs/siamese_500_0/log.csv").write_text("nonsense")
    message = error_in_process("evaluate.py", "report", "--results", folder)
    assert "siamese_500_0/log.csv: not the log of a training" in message
    (folder / "runs/siamese_500_0/log.csv").unlink()
    (folder / "one.json").write_text("{")
    message = error_in_process("evaluate.py", "report", "--results", folder)
    assert "one.json: cannot be read as JSON" in message
    assert (folder / "report.html").read_bytes() == before


def test_a_browser_shows_it_without_an_error(folder):
    html_report.write_report(folder)
    with browser.browser() as driver:
        driver.get((folder / "report.html").as_uri())
        assert driver.title == f"Results of {folder.name}"
        shown = "return [...document.images].every((one) => one.complete && one.naturalWidth > 100)"
        assert driver.execute_script(shown)
        width = "return document.documentElement.scrollWidth - innerWidth"
        assert driver.execute_script(width) <= 0
        with browser.narrow(driver):
            assert driver.execute_script(width) <= 0
        assert browser.errors(driver) == []
