"""Tests that the report is complete, self-contained and safe for arbitrary names."""

import json
import re
import shutil

import pytest

from evaluation.results import read_results
from papers.paper_tables import compare_with_paper
from report import html_report
from tests import browser
from tests.browser import Page
from tests.conftest import error_in_process, run_in_process
from tests.evaluation.result_files import RESULT

HOSTILE = "</style><script>document.title='x'</script><img src=x onerror=alert(1)> {{7*7}} \"'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a report on results, a run, a journal and hostile names."""
    folder = tmp_path_factory.mktemp("results")
    inputs = {"features": [{"weights": {"name": HOSTILE, "sha256": "ab" * 32}}]}
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
            "made_from": {"inputs": inputs, "versions": {"keras": "3.0", HOSTILE: "1"}},
            "command": f"python evaluate.py {HOSTILE}",
        },
        "map": {
            "protocol": "tsne",
            "metric": "kl_divergence",
            "details": {"map": {"x": [0.0, 1.0], "y": [0.0, 1.0], "label": [HOSTILE, "b"]}},
        },
    }
    for name, change in results.items():
        (folder / f"{name}.json").write_text(json.dumps(RESULT | change))
    run = folder / "runs/siamese_500_0"
    run.mkdir(parents=True)
    (run / "log.csv").write_text("epoch,loss,val_loss\n1,2.5,2.25\n2,2.0,2.125\n3,1.5,2.1875\n")
    inputs = {"model": "siamese", "artists": 500, "settings": {"seed": 3}}
    (run / "run.json").write_text(json.dumps({"inputs": inputs, "backend": HOSTILE}))
    (folder / "steps.csv").write_text("command,kind,amount,seconds\npython x.py,basic,1,2\n")
    (folder / "songs_a&b.html").write_text("")
    ran = run_in_process("evaluate.py", "report", "--results", folder)
    assert ran.lines == [f"{folder / 'report.html'}"]
    return folder


def test_report_lists_all_paper_numbers_and_missing_inputs(folder):
    text, cells = Page(folder / "report.html").text, compare_with_paper(read_results(folder))
    numbers = [f"{number:.4f}" for number in cells["paper's"].dropna()]
    assert all(shown in text for shown in (*numbers, *cells["needs"], "ismir2018: 1 of 31 numbers"))


def test_report_shows_figures_curves_and_provenance(folder):
    page = Page(folder / "report.html")
    images = [image for image, _ in page.find("img")]
    assert all(image["src"].startswith("data:image/svg+xml;base64,") for image in images)
    assert all(image["alt"] for image in images)
    drawn = {path.name for path in folder.glob("*.png")}
    assert len(images) == len(drawn) and "training_siamese.png" in drawn
    for text in ("ab" * 32, "2.1250", "2.1875", "keras", "one.json", "python x.py"):
        assert text in page.text
    assert page.text.count(f"python evaluate.py {HOSTILE}") == 1
    assert "arxiv2017, Figure 2: " in page.text  # listed as not drawn
    links = [link["href"] for link, _ in page.find("a")]
    assert "songs_a%26b.html" in links
    ids = {attributes.get("id") for _, attributes, _ in page.elements}
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    assert {"tables.csv", "tables.md", "tables.tex", "summary.md", "figures.csv"} <= {
        path.name for path in folder.iterdir()
    }


def test_report_has_no_scripts_and_shows_names_as_text(folder):
    page = Page(folder / "report.html")
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _, _ in page.elements}
    attributes = [attributes for _, attributes, _ in page.elements]
    assert not any(name.startswith("on") for one in attributes for name in one)
    addresses = [one.get("src") or one.get("href", "") for one in attributes]
    assert not any(re.match(r"(https?:|//|javascript:)", address) for address in addresses)
    assert HOSTILE in page.text and "49" not in page.text.split(HOSTILE)[1][:5]
    assert page.policy.startswith("default-src 'none'; img-src data:; ")


def test_report_on_own_data_shows_its_results_first_and_the_rest_behind_one_line(tmp_path):
    result = RESULT | {"dataset": "my_music", "features": "mine", "value": 0.1357}
    (tmp_path / "mine.json").write_text(json.dumps(result))
    text = Page(html_report.write_report(tmp_path)).text
    rest = text.index("8 tables and 10 figures of the papers without results, and what they need")
    expected = ("MAP, k-NN accuracy and linear accuracy", "0.1357", "ismir2018, Table 1: retrieval")
    assert sorted(expected, key=text.index) == list(expected)
    assert text.index(expected[-1]) < rest < text.index("ismir2018, Table 2: k-NN")
    for paper in ("arxiv2017: 0 of", "agf2018: 0 of", "arxiv2017, Figure 2: "):
        assert text.index(paper) > rest
    assert text.count("ismir2018, Table 1: ") == 1


def test_report_without_results_lists_all_missing_inputs(tmp_path):
    text = Page(html_report.write_report(tmp_path)).text
    assert "[1] GTZAN audio" in text and "There are no trainings in the folder runs" in text


def test_report_shows_provenance_of_unexpected_types(tmp_path):
    weights = [{"name": "a", "sha256": ["x"], "artists": [5]}, {"name": 5}, {"sha256": {"x": 1}}]
    records = (
        {"inputs": None, "versions": None},
        {"inputs": {"settings": 5}, "versions": {"keras": [3, 1], "numpy": None}},
        {"inputs": {"settings": {"seed": [7]}, "weights": "w"}, "versions": ["keras"]},
        {"inputs": [{"weights": one} for one in weights]},
    )
    for i, record in enumerate(records):
        result = RESULT | {"features": f"features_{i}", "made_from": record}
        (tmp_path / f"{i}.json").write_text(json.dumps(result))
    text = Page(html_report.write_report(tmp_path)).text
    assert all(shown in text for shown in ("[3, 1]", "[7]", "['x']", "{'x': 1}"))


def test_report_rejects_damaged_files_and_keeps_the_previous_page(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "runs/siamese_500_0/log.csv").write_text("nonsense")
    message = error_in_process("evaluate.py", "report", "--results", copy)
    assert "siamese_500_0/log.csv: not the log of a training" in message
    (copy / "one.json").write_text("{")
    assert "one.json: " in error_in_process("evaluate.py", "report", "--results", copy)
    assert (copy / "report.html").read_bytes() == (folder / "report.html").read_bytes()


@pytest.mark.slow
def test_browser_shows_the_report_without_errors(folder):
    with browser.open_browser() as driver:
        driver.get((folder / "report.html").as_uri())
        assert driver.title == f"Results of {folder.name}"
        loaded = "[...document.images].every((one) => one.complete && one.naturalWidth > 100)"
        assert driver.execute_script(f"return {loaded}")
        overflow = "return document.documentElement.scrollWidth - innerWidth"
        assert driver.execute_script(overflow) <= 0
        with browser.narrow_window(driver):
            assert driver.execute_script(overflow) <= 0
        assert browser.console_errors(driver) == []
