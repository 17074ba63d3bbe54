"""The explorer's page: what is written into it, and what it does in a real browser."""

import contextlib
import json
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from common.errors import InputError
from report import explorer
from tests import browser

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "<!-- <script>",
    "'\"` onmouseover=alert(3) &lt;b&gt;&amp;",
    "line\u2028separator\u2029and\ttab",
    "{{script}} ${alert(4)} %3Cb%3E",
    "javascript:alert(5)",
    "<a href='javascript:alert(6)'>bold <b>one</b></a>",
)


def table(count: int = 60, genres: int = 5) -> pd.DataFrame:
    """Songs of a split; every seventh has no genre."""
    songs = range(count)
    return pd.DataFrame(
        {
            "track_id": [f"song {song:05d}" for song in songs],
            "path": [f"artist {song % 20}/song {song}.wav" for song in songs],
            "subset": [("train", "train", "valid", "test")[song % 4] for song in songs],
            "artist": [f"Artist {song % 20}" for song in songs],
            "genre": ["" if song % 7 == 0 else f"genre {song % genres}" for song in songs],
        }
    )


def two_maps(count: int, seed: int = 0) -> dict:
    """Two sets of features, and planes on which every song has a place of its own."""
    random = np.random.default_rng(seed)
    wide = int(np.ceil(np.sqrt(count)))
    plane = np.stack(np.divmod(np.arange(count), wide), axis=1).astype(float)
    return {
        name: (random.normal(size=(count, 8)).astype(np.float32), random.permutation(plane))
        for name in ("siamese", "basic")
    }


class _Island(HTMLParser):
    """The scripts of a page, as an HTML parser finds them, and its policy."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.policy, self.title, self._within = [], "", "", ""

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self._within = tag
        if tag == "script":
            self.scripts.append([attributes.get("id"), ""])
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]

    def handle_endtag(self, tag):
        self._within = ""

    def handle_data(self, text):
        if self._within == "script":
            self.scripts[-1][1] += text
        if self._within == "title":
            self.title += text


def parsed(page: Path) -> _Island:
    made = _Island()
    made.feed(page.read_text(encoding="utf-8"))
    return made


def data_of(page: Path) -> dict:
    return json.loads(dict(parsed(page).scripts)["data"])


# ---------------------------------------------------------------- what is written


def test_songs_and_maps_are_in_the_page(tmp_path):
    songs, maps = table(), two_maps(60)
    explorer.write_explorer(tmp_path / "page.html", songs, maps, None, "Songs & maps", neighbours=4)
    data = data_of(tmp_path / "page.html")
    assert data["track_id"] == songs["track_id"].tolist()
    assert data["audio"] is None
    for column in data["columns"]:
        values = [column["classes"][code] if code >= 0 else "" for code in column["codes"]]
        assert values == songs[column["name"]].tolist()
    assert [column["name"] for column in data["columns"]] == ["artist", "subset", "genre"]
    for one, (features, plane) in zip(data["maps"], maps.values(), strict=True):
        search = NearestNeighbors(n_neighbors=5, metric="cosine").fit(features)
        distance, order = search.kneighbors(features)
        assert one["nearest"] == order[:, 1:].ravel().tolist()
        np.testing.assert_allclose(one["cosine"], 1 - distance[:, 1:].ravel(), atol=1e-4)
        places = np.stack([one["x"], one["y"]], axis=1)
        assert places.min() == 0
        assert places.max() == 1
        np.testing.assert_allclose(places, plane / plane.max(), atol=1e-5)
    assert parsed(tmp_path / "page.html").title == "Songs & maps"


def test_the_page_may_load_nothing_but_audio(tmp_path):
    explorer.write_explorer(tmp_path / "page.html", table(), two_maps(60), None, "t")
    policy = dict(
        part.strip().split(" ", 1) for part in parsed(tmp_path / "page.html").policy.split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["media-src"] == "'self' file:"
    assert "unsafe-inline" not in policy["script-src"]
    assert not {"connect-src", "frame-src", "worker-src"} & policy.keys()
    assert "http" not in " ".join(policy.values())


def test_hostile_names_end_no_script_and_come_back(tmp_path):
    songs = table(len(HOSTILE))
    for column in ("track_id", "artist", "genre"):
        songs[column] = HOSTILE
    songs["path"] = [name.replace(":", "") for name in HOSTILE]
    maps = {HOSTILE[0]: two_maps(len(HOSTILE))["basic"]}
    explorer.write_explorer(tmp_path / "page.html", songs, maps, None, HOSTILE[0])
    page = parsed(tmp_path / "page.html")
    assert [name for name, _ in page.scripts] == ["data", None, None]
    assert page.title == HOSTILE[0]
    data = json.loads(page.scripts[0][1])
    assert data["track_id"] == list(HOSTILE)
    assert data["columns"][2]["classes"] == sorted(HOSTILE)
    assert data["maps"][0]["name"] == HOSTILE[0]


@given(st.text())
def test_an_island_is_inert(text):
    island = explorer.to_island({"name": text})
    assert island.isascii()
    assert not set("<>&\u2028\u2029") & set(island)
    assert json.loads(island) == {"name": text}


@pytest.mark.parametrize("name", ["plain", "a b#c?d%20", "üñ\u2028", "a:b", "it's <b>", "x/../y"])
@pytest.mark.parametrize("place", ["page.html", "results/deep/page.html"])
def test_the_url_of_the_audio_is_that_of_its_folder(tmp_path, name, place):
    folder, page = tmp_path / name, tmp_path / place
    (tmp_path / "x").mkdir()
    folder.mkdir(parents=True)
    url = explorer.folder_url(folder, page)
    assert url.endswith("/")
    assert not url.startswith(("/", "file:"))
    full = urljoin(page.as_uri(), url + "song.wav")
    assert Path(unquote(full.removeprefix("file://"))) == folder.resolve() / "song.wav"


def test_the_audio_folder_may_be_that_of_the_page(tmp_path):
    assert explorer.folder_url(tmp_path, tmp_path / "page.html") == "./"


@pytest.mark.parametrize("count", [1, 3])
def test_few_songs_have_as_many_neighbours_as_there_are(tmp_path, count):
    songs = table(count).assign(genre="")
    maps = {"one": (np.ones((count, 2)), np.zeros((count, 2)))}
    explorer.write_explorer(tmp_path / "page.html", songs, maps, None, "t")
    data = data_of(tmp_path / "page.html")
    assert data["neighbours"] == count - 1
    assert len(data["maps"][0]["nearest"]) == count * (count - 1)
    assert data["columns"][2] == {"name": "genre", "classes": [], "codes": [-1] * count}
    assert set(data["maps"][0]["x"]) == {0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, m: {"maps": {}}, "0 sets of features; give one or two"),
        (lambda s, m: {"maps": {**m, "third": m["basic"]}}, "3 sets of features"),
        (lambda s, m: {"songs": s[:-1]}, "features of 60 songs"),
        (lambda s, m: {"maps": {"a": (m["basic"][0], m["basic"][1][:-1])}}, "shape .59, 2."),
        (lambda s, m: {"maps": {"a": (m["basic"][0], m["basic"][1] * np.nan)}}, "places are NaN"),
        (lambda s, m: {"maps": {"a": (m["basic"][0] * np.inf, m["basic"][1])}}, "have NaN or inf"),
        (lambda s, m: {"labels": ["mood"]}, "has no column 'mood'"),
        (lambda s, m: {"songs": s.assign(path=["../x.wav", *s["path"][1:]])}, "audio folder"),
        (lambda s, m: {"songs": s.assign(path=["/etc/passwd", *s["path"][1:]])}, "audio folder"),
        (lambda s, m: {"audio": "/nowhere/music"}, "/nowhere/music: no such folder"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_the_page_there_was(tmp_path, change, message):
    page = tmp_path / "page.html"
    page.write_text("as it was")
    songs, maps = table(), two_maps(60)
    given = {"songs": songs, "maps": maps, "audio": None, "title": "t", **change(songs, maps)}
    with pytest.raises(InputError, match=message) as refused:
        explorer.write_explorer(page, **given)
    assert "\n" not in str(refused.value)
    assert page.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [page]


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def driver():
    with browser.browser(*browser.WEBGL, *browser.MAY_PLAY) as opened:
        opened.set_script_timeout(60)
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """Sixty songs with audio, on two maps."""
    folder = tmp_path_factory.mktemp("explorer")
    songs = table()
    for path in songs["path"]:
        place = folder / "my music #1" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, np.zeros(8000 * 20), 8000)
    made = folder / "results" / "page.html"
    explorer.write_explorer(made, songs, two_maps(60), folder / "my music #1", "Sixty songs")
    return made


def opened(driver, page: Path):
    """The page, drawn, of which the console has nothing to say."""
    driver.get(page.as_uri())
    wait(driver, "return maps.every(({ plot }) => plot.matches('.js-plotly-plot'))")
    assert browser.errors(driver) == []
    return driver


def wait(driver, script: str, *arguments, seconds: float = 20):
    """Until `script` gives something true, which is returned."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, seconds, poll_frequency=0.05).until(
        lambda driver: driver.execute_script(script, *arguments), script
    )


def texts(driver, selector: str) -> list[str]:
    return driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)",
        selector,
    )


def text(driver, selector: str) -> str:
    [found] = texts(driver, selector)
    return found


def playing(driver) -> str:
    """The file that is heard, once it is."""
    wait(driver, "return !audio.paused && audio.currentTime > 0")
    return driver.execute_script("return decodeURIComponent(new URL(audio.currentSrc).pathname)")


def click_point(driver, song: int, number: int = 0) -> None:
    """Move the mouse to a song on a map, and click."""
    from selenium.webdriver import ActionChains

    plot = driver.find_elements("css selector", ".plot")[number]
    driver.execute_script("arguments[0].scrollIntoView({block: 'nearest'})", plot)
    x, y = driver.execute_script(
        """const [{ plot, x, y }, song] = [maps[arguments[0]], arguments[1]];
        const { xaxis, yaxis } = plot._fullLayout;
        return [xaxis._offset + xaxis.l2p(x[song]) - plot.clientWidth / 2,
                yaxis._offset + yaxis.l2p(y[song]) - plot.clientHeight / 2];""",
        number,
        song,
    )
    mouse = ActionChains(driver, duration=50)
    mouse.move_to_element_with_offset(plot, round(x) + 3, round(y)).pause(0.1)
    mouse.move_by_offset(-3, 0).pause(0.2).click().perform()


def keys(driver, *pressed: str) -> None:
    """Press keys, whatever has the focus."""
    from selenium.webdriver import ActionChains

    for key in pressed:
        ActionChains(driver).send_keys(key).perform()


def press_until(driver, key: str, script: str, times: int = 40) -> None:
    for _ in range(times):
        if driver.execute_script(script):
            return
        keys(driver, key)
    raise AssertionError(f"{times} times {key!r} and not {script}")


def near(page: Path, number: int, song: int) -> list[str]:
    data = data_of(page)
    start = song * data["neighbours"]
    found = data["maps"][number]["nearest"][start : start + data["neighbours"]]
    return [data["track_id"][other] for other in found]


@pytest.mark.parametrize("number", [0, 1])
def test_a_click_on_a_point_plays_the_song_and_lists_its_neighbours(driver, page, number):
    opened(driver, page)
    click_point(driver, 23, number)
    assert text(driver, "#name") == "song 00023"
    assert playing(driver).endswith("/my music #1/artist 3/song 23.wav")
    assert "artist: Artist 3" in text(driver, "#facts")
    assert text(driver, "#live").startswith("Chosen: song 00023, Artist 3 · genre 3.")
    lists = driver.find_elements("css selector", ".near")
    for at, made in enumerate(lists):
        names = [one.text for one in made.find_elements("css selector", ".name")]
        assert names == near(page, at, 23)
    cosines = [float(one) for one in texts(driver, ".near .cosine")[:10]]
    assert cosines == sorted(cosines, reverse=True)
    assert browser.errors(driver) == []


def test_a_neighbour_is_chosen_in_turn_and_both_maps_mark_it(driver, page):
    opened(driver, page)
    click_point(driver, 23)
    driver.find_elements("css selector", ".near button")[12].click()  # the third by basic
    song = near(page, 1, 23)[2]
    assert text(driver, "#name") == song
    assert playing(driver).endswith(f"song {int(song[-5:])}.wav")
    row = int(song[-5:])
    for number in (0, 1):
        wait(
            driver,
            """const [{ plot, x, y }, song] = [maps[arguments[0]], arguments[1]];
            const at = (one) => one.xanchor === x[song] && one.yanchor === y[song];
            const { shapes } = plot.layout;
            return shapes.length === 22 && shapes.slice(-2).every(at)
                && plot.querySelectorAll(".shapelayer path").length >= 22;""",
            number,
            row,
        )
    assert driver.execute_script("return document.activeElement.id") == "name"


def test_search_finds_by_track_artist_and_path(driver, page):
    opened(driver, page)
    box = driver.find_element("id", "search")
    for words, expected in {
        "00041": ["song 00041"],
        "ÁRTIST 13": ["song 00013", "song 00033", "song 00053"],
        "13/song 33.wav": ["song 00033"],
        "nobody": [],
    }.items():
        box.clear()
        box.send_keys(words)
        assert texts(driver, "#found .name") == expected
        assert text(driver, "#count") == f"{len(expected)} of 60 songs"
    drawn = "return maps.every(({ plot }) => plot.data.slice(1).every(({ x }) => !x.length))"
    wait(driver, drawn)
    box.send_keys("\ue003" * len("nobody"))  # backspace
    assert text(driver, "#count") == "60 songs"
    wait(
        driver, "return maps.every(({ plot }) => plot.data.length === 7 && !plot.data[0].x.length)"
    )


def test_filters_leave_songs_of_a_label_and_a_subset(driver, page):
    from selenium.webdriver.support.ui import Select

    opened(driver, page)
    _, subset, genre = map(Select, driver.find_elements("css selector", "#controls select"))
    counts = table()["genre"].value_counts().drop("").sort_index()
    options = ["all", *(f"{name} ({count})" for name, count in counts.items()), "no genre (9)"]
    assert [option.text for option in genre.options] == options
    subset.select_by_visible_text("test (15)")
    genre.select_by_visible_text("no genre (9)")
    songs = table()
    left = songs[songs["subset"].eq("test") & songs["genre"].eq("")]
    assert texts(driver, "#found .name") == left["track_id"].tolist()
    drawn = "return maps.map(({ plot }) => plot.data.slice(1).flatMap(({ x }) => [...x]).length)"
    wait(driver, f"return ({drawn.removeprefix('return ')}).every((n) => n === arguments[0])", 2)
    assert driver.execute_script("return maps[0].plot.data[0].x.length") == 58


def test_each_of_several_tags_is_a_filter(driver, tmp_path):
    from selenium.webdriver.support.ui import Select

    songs = table(6).assign(tags=["piano|bass", "", "bass", "bass drum", "voice|bass", "piano"])
    maps = {"a": two_maps(6)["basic"]}
    explorer.write_explorer(tmp_path / "page.html", songs, maps, None, "t", labels=("tags",))
    opened(driver, tmp_path / "page.html")
    tags = Select(driver.find_elements("css selector", "#controls select")[2])
    assert [option.text for option in tags.options] == [
        "all",
        "bass (3)",
        "bass drum (1)",
        "piano (2)",
        "voice (1)",
        "no tags (1)",
    ]
    tags.select_by_visible_text("bass (3)")
    assert texts(driver, "#found .name") == ["song 00000", "song 00002", "song 00004"]


def test_colours_are_of_the_column_asked_for(driver, page):
    from selenium.webdriver.support.ui import Select

    opened(driver, page)
    colour = Select(driver.find_element("css selector", "#controls select"))
    assert [option.text for option in colour.options] == ["artist", "subset", "genre"]
    colour.select_by_visible_text("subset")
    assert texts(driver, "#legend li") == ["● test (15)", "■ train (30)", "◆ valid (15)"]
    wait(driver, "return maps.every(({ plot }) => plot.data.length === 4)")
    colours = driver.execute_script("return maps[0].plot.data.slice(1).map((t) => t.marker.color)")
    assert len(set(colours)) == 3
    colour.select_by_visible_text("artist")
    assert len(texts(driver, "#legend li")) == 20


def test_a_view_is_kept_until_the_whole_map_is_asked_for(driver, page):
    opened(driver, page)
    span = (
        "return maps.map(({ plot: { layout } }) => layout.yaxis.range[1] - layout.yaxis.range[0])"
    )
    [whole, other] = driver.execute_script(span)
    driver.find_element("css selector", "[aria-label='Zoom into siamese']").click()
    wait(driver, f"return {span[7:]}[0] < arguments[0] * 0.9", whole)
    near = driver.execute_script(span)
    driver.find_element("id", "search").send_keys("artist 3")
    wait(driver, "return maps.every(({ plot }) => plot.data[0].x.length)")
    assert driver.execute_script(span) == near == [near[0], other]
    for song in (0, 13, 26, 59):
        driver.execute_script("choose(arguments[0])", song)
        wait(
            driver,
            """const { plot: { layout: { xaxis, yaxis } }, x, y } = maps[0];
            return xaxis.range[0] <= x[chosen] && x[chosen] <= xaxis.range[1]
                && yaxis.range[0] <= y[chosen] && y[chosen] <= yaxis.range[1];""",
        )
    driver.find_element("css selector", "[aria-label='Whole map of siamese']").click()
    wait(driver, f"return Math.abs({span[7:]}[0] - arguments[0]) < 1e-9", whole)


def test_a_song_known_by_its_path_is_named_by_its_file(driver, tmp_path):
    songs = table(9).assign(track_id=lambda songs: songs["path"])
    explorer.write_explorer(tmp_path / "page.html", songs, {"a": two_maps(9)["basic"]}, None, "t")
    opened(driver, tmp_path / "page.html")
    assert texts(driver, "#found .name") == [f"song {song}.wav" for song in range(9)]
    click_point(driver, 4)
    assert text(driver, "#name") == "song 4.wav"
    assert "file: artist 4/song 4.wav" in text(driver, "#facts")


def test_the_keyboard_alone_reaches_a_song_and_plays_it(driver, page):
    opened(driver, page)
    press_until(driver, "\ue004", "return document.activeElement.id === 'search'")  # tab
    keys(driver, "00041")
    keys(driver, "\ue004", "\ue007")  # to the one song that is found, and enter
    assert playing(driver).endswith("song 41.wav")
    keys(driver, "\ue00c")  # escape
    assert driver.execute_script("return audio.paused")


def test_arrow_keys_go_from_song_to_song_on_a_map_and_in_a_list(driver, page):
    opened(driver, page)
    driver.find_element("css selector", ".map").send_keys("")
    driver.execute_script("document.querySelectorAll('.map')[0].focus()")
    keys(driver, "\ue014")  # the first song, whichever way
    assert text(driver, "#name") == "song 00000"
    place = "return [maps[0].x[chosen], maps[0].y[chosen]]"
    before = driver.execute_script(place)
    way = ("\ue014", 1) if before[0] < 0.5 else ("\ue012", -1)
    keys(driver, way[0])
    after = driver.execute_script(place)
    assert (after[0] - before[0]) * way[1] > 0
    assert after[1] == before[1]  # the songs lie on a grid
    driver.execute_script("document.querySelector('#found button').focus()")
    keys(driver, "\ue015", "\ue015", "\ue013", "\ue007")  # down, down, up, enter
    assert text(driver, "#name") == "song 00001"
    assert texts(driver, "#found [aria-current] .name") == ["song 00001"]


def test_every_song_is_in_the_list_and_every_control_has_a_name(driver, page):
    opened(driver, page)
    assert len(texts(driver, "#found li")) == 50
    driver.find_element("id", "more").click()
    assert texts(driver, "#found .name") == table()["track_id"].tolist()
    assert driver.execute_script("return document.activeElement.dataset.song") == "50"
    assert not driver.find_element("id", "more").is_displayed()
    for one in driver.find_elements("css selector", "button, input, select, audio, .map, ol, ul"):
        assert one.accessible_name or not one.is_displayed(), one.get_attribute("outerHTML")
    driver.find_element("css selector", "#found button").click()
    roles = [one.aria_role for one in driver.find_elements("css selector", "#found, .near")]
    assert roles == ["list"] * 3
    assert driver.find_element("id", "live").get_attribute("aria-live") == "polite"


def test_hostile_names_are_shown_and_do_nothing(driver, tmp_path):
    songs = table(len(HOSTILE))
    for column in ("track_id", "artist", "genre"):
        songs[column] = HOSTILE
    songs["path"] = [f"{name.replace(':', '').replace('/', '_')}.wav" for name in HOSTILE]
    music = tmp_path / "music"
    music.mkdir()
    for path in songs["path"]:
        soundfile.write(music / path, np.zeros(8000 * 20), 8000, format="WAV")
    maps = dict(zip(HOSTILE, two_maps(len(HOSTILE)).values(), strict=False))
    explorer.write_explorer(tmp_path / "page.html", songs, maps, music, HOSTILE[1])
    opened(driver, tmp_path / "page.html")
    assert text(driver, "h1") == HOSTILE[1]
    assert texts(driver, ".side h2") == list(HOSTILE[:2])
    assert texts(driver, "#found .name") == list(HOSTILE)
    for song, name in enumerate(HOSTILE):
        click_point(driver, song)  # which shows the tip as well
        assert text(driver, "#name") == name
        assert name in text(driver, "#tip")
        assert playing(driver).endswith("/" + songs["path"][song])
    assert driver.execute_script("return document.querySelectorAll('img, b, main a').length") == 0
    assert driver.execute_script("return document.scripts.length") == 3
    assert browser.errors(driver) == []  # and no alert, which would have stopped the driver


@pytest.mark.parametrize(
    ("attempt", "directive"),
    [
        ("fetch('http://127.0.0.1:9/').catch(() => {})", "connect-src"),
        ("new Image().src = 'http://127.0.0.1:9/x.png'", "img-src"),
        ("document.body.append(element('script', 'window.bad = 1'))", "script-src-elem"),
        ("audio.src = 'http://127.0.0.1:9/x.wav'", "media-src"),
    ],
)
def test_the_browser_keeps_the_page_from_network_and_foreign_scripts(
    driver, page, attempt, directive
):
    opened(driver, page)
    listen = "addEventListener('securitypolicyviolation', (e) => done(e.effectiveDirective));"
    stopped = driver.execute_async_script(f"const done = arguments[0]; {listen} {attempt};")
    assert stopped == directive
    assert driver.execute_script("return window.bad === undefined")
    assert browser.errors(driver)  # which tell of it


def test_a_page_without_audio_works_and_a_missing_file_is_told(driver, page, tmp_path):
    songs, maps = table(9), {"only": two_maps(9)["basic"]}
    explorer.write_explorer(tmp_path / "silent.html", songs, maps, None, "t")
    opened(driver, tmp_path / "silent.html")
    click_point(driver, 4)
    assert text(driver, "#name") == "song 00004"
    assert text(driver, "#note") == "no audio"
    assert not driver.find_element("id", "audio").is_displayed()
    explorer.write_explorer(tmp_path / "missing.html", songs, maps, tmp_path, "t")
    opened(driver, tmp_path / "missing.html")
    click_point(driver, 4)
    wait(driver, "return note.textContent.includes('cannot play')")
    [error] = browser.errors(driver)
    assert "ERR_FILE_NOT_FOUND" in error


def test_songs_are_drawn_without_webgl_too(page):
    with browser.browser(*browser.NO_WEBGL, *browser.MAY_PLAY) as driver:
        opened(driver, page)
        assert "no WebGL" in text(driver, "#marks")
        click_point(driver, 23)
        assert text(driver, "#name") == "song 00023"
        assert browser.errors(driver) == []


def test_panels_stack_where_the_page_is_narrow(driver, page):
    with browser.narrow(driver):
        opened(driver, page)
        driver.execute_script("choose(3)")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 400
        tops = driver.execute_script(
            "return [...document.querySelectorAll('.side, #songs')]"
            ".map((one) => one.getBoundingClientRect().top)"
        )
        assert tops == sorted(set(tops))


def test_what_has_the_focus_does_not_lie_below_the_chosen_song(driver, page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    hidden = """
        const [one, top] = [document.activeElement, document.getElementById("chosen")];
        const [of, over] = [one.getBoundingClientRect(), top.getBoundingClientRect()];
        return !top.contains(one) && of.top < over.bottom && of.bottom > over.top
            && getComputedStyle(top).position === "sticky" ? one.outerHTML.slice(0, 90) : null;
    """
    for window in (contextlib.nullcontext(), browser.narrow(driver)):
        with window:
            opened(driver, page)
            driver.execute_script("choose(3); document.getElementById('search').focus()")
            for _ in range(30):  # back over the lists of neighbours, the maps and their buttons
                ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).perform()
                ActionChains(driver).key_up(Keys.SHIFT).perform()
                assert driver.execute_script(hidden) is None


# The page's promise: with 10,000 songs it answers within 100 ms.
ANSWERED = """
    window.answers = [];
    let at = 0;
    const types = ["mousedown", "mouseup", "keydown", "change"];
    const saw = (event) => { at = event.timeStamp; };
    for (const type of types) addEventListener(type, saw, true);
    const answer = new MutationObserver(() => requestAnimationFrame(() => {
      if (at) answers.push(performance.now() - at);
      at = 0;
    }));
    for (const id of ["name", "count"]) {
      answer.observe(document.getElementById(id), { childList: true });
    }
"""


def test_ten_thousand_songs_answer_within_100_ms(driver, tmp_path):
    from selenium.webdriver.support.ui import Select

    count = 10_000
    songs, random = table(count, genres=12), np.random.default_rng(0)
    maps = {
        name: (random.normal(size=(count, 16)), random.normal(size=(count, 2)))
        for name in ("siamese", "basic")
    }
    explorer.write_explorer(tmp_path / "big.html", songs, maps, None, "Ten thousand songs")
    opened(driver, tmp_path / "big.html")
    driver.execute_script(ANSWERED)
    genre = Select(driver.find_elements("css selector", "#controls select")[2])
    search = driver.find_element("id", "search")
    outer = np.linalg.norm(maps["siamese"][1], axis=1).argsort()[-7:]
    tries = {
        "click": [lambda song=song: click_point(driver, int(song)) for song in outer],
        "search": [lambda key=key: search.send_keys(key) for key in "artist1"],
        "filter": [lambda one=one: genre.select_by_index(one) for one in range(1, 8)],
    }
    for name, actions in tries.items():
        for done, action in enumerate(actions, 1):
            action()
            wait(driver, "return answers.length >= arguments[0]", done)
            driver.execute_async_script("setTimeout(arguments[0], 250)")
        answers = driver.execute_script("return answers.splice(0)")
        print(f"{name}: {[round(one) for one in answers]} ms, median {np.median(answers):.0f}")
        assert np.median(answers) < 100, name
        if name == "search":
            search.clear()
            driver.execute_async_script("setTimeout(arguments[0], 250)")
            driver.execute_script("answers.length = 0")
