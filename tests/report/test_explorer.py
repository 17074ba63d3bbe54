"""Tests of the track explorer: the content of the page, and its behaviour in a real browser."""

import json
from pathlib import Path
from urllib.parse import unquote, urljoin

import numpy as np
import pandas as pd
import pytest
import soundfile
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from sklearn.neighbors import NearestNeighbors

from common.errors import InputError
from report import explorer
from tests import browser
from tests.browser import Page

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


def make_tracks(count: int = 60, genres: int = 5) -> pd.DataFrame:
    """Return a split in which every seventh track has no genre."""
    numbers = range(count)
    return pd.DataFrame(
        {
            "track_id": [f"track {n:05d}" for n in numbers],
            "path": [f"artist {n % 20}/track {n}.wav" for n in numbers],
            "subset": [("train", "train", "valid", "test")[n % 4] for n in numbers],
            "artist": [f"Artist {n % 20}" for n in numbers],
            "genre": ["" if n % 7 == 0 else f"genre {n % genres}" for n in numbers],
        }
    )


def make_maps(count: int = 60) -> dict:
    """Return two maps with random features, each placing the tracks on a grid in random order."""
    random = np.random.default_rng(0)
    plane = np.stack(np.divmod(np.arange(count, dtype=float), np.ceil(np.sqrt(count))), axis=1)
    return {
        name: (random.normal(size=(count, 8)).astype(np.float32), random.permutation(plane))
        for name in ("siamese", "basic")
    }


def name_all(tracks: pd.DataFrame, names) -> pd.DataFrame:
    """Return tracks whose id, title, artist and genre have the given names."""
    return tracks.assign(**dict.fromkeys(("track_id", "title", "artist", "genre"), names))


def data_of(page: Path) -> dict:
    [data] = [text for script, text in Page(page).find("script") if script.get("id") == "data"]
    return json.loads(data)


def write_page(path: Path, tracks=None, maps=None, audio=None, title="title", **options) -> Path:
    tracks = make_tracks() if tracks is None else tracks
    maps = make_maps(len(tracks)) if maps is None else maps
    explorer.write_explorer(path, tracks, maps, audio, title, **options)
    return path


# ---------------------------------------------------------------- page content


def test_page_contains_tracks_and_maps(tmp_path):
    tracks, maps = make_tracks(), make_maps()
    path = write_page(tmp_path / "page.html", tracks, maps, title="Tracks & maps", neighbours=4)
    [(_, title)], data = Page(path).find("title"), data_of(path)
    assert title == "Tracks & maps"
    assert data["track_id"] == tracks["track_id"].tolist()
    assert data["audio"] is None and data["title"] is None
    assert data["columns"][data["colour"]]["name"] == "genre"
    for column in data["columns"]:
        values = [column["classes"][code] if code >= 0 else "" for code in column["codes"]]
        assert values == tracks[column["name"]].tolist()
    assert [column["name"] for column in data["columns"]] == ["artist", "subset", "genre"]
    for one, (features, plane) in zip(data["maps"], maps.values(), strict=True):
        search = NearestNeighbors(n_neighbors=5, metric="cosine").fit(features)
        distance, order = search.kneighbors(features)
        assert one["nearest"] == order[:, 1:].ravel().tolist()
        np.testing.assert_allclose(one["cosine"], 1 - distance[:, 1:].ravel(), atol=1e-4)
        positions = np.stack([one["x"], one["y"]], axis=1)
        np.testing.assert_allclose(positions, plane / plane.max(), atol=1e-5)


def test_page_needs_no_subsets_and_colours_tracks_by_the_first_label_with_a_value(tmp_path):
    tracks = make_tracks().drop(columns="subset").assign(mood="", title=["", *"x" * 59])
    data = data_of(write_page(tmp_path / "page.html", tracks, labels=("mood", "genre")))
    assert [column["name"] for column in data["columns"]] == ["artist", "mood", "genre"]
    assert data["colour"] == 2 and data["title"] == ["", *"x" * 59]
    assert data_of(write_page(tmp_path / "page.html", tracks, labels=("mood",)))["colour"] == 0
    data = data_of(write_page(tmp_path / "page.html", tracks, labels=("artist", "genre")))
    assert [column["name"] for column in data["columns"]] == ["artist", "genre"]
    assert data["colour"] == 0


def test_content_security_policy_allows_loading_only_audio(tmp_path):
    policy = Page(write_page(tmp_path / "page.html")).policy
    policy = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["media-src"] == "'self' file:"
    assert "unsafe-inline" not in policy["script-src"]
    assert not {"connect-src", "frame-src", "worker-src"} & policy.keys()
    assert "http" not in " ".join(policy.values())


def test_hostile_names_are_escaped_in_the_page(tmp_path):
    tracks = name_all(make_tracks(len(HOSTILE)), HOSTILE)
    tracks["path"] = [name.replace(":", "") for name in HOSTILE]
    maps = {HOSTILE[0]: make_maps(len(HOSTILE))["basic"]}
    path = write_page(tmp_path / "page.html", tracks, maps, title=HOSTILE[0])
    page, data = Page(path), data_of(path)
    [(_, island), *others] = page.find("script")
    assert len(others) == 2
    assert island.isascii() and not set("<>&\u2028\u2029") & set(island)
    assert page.find("title") == [({}, HOSTILE[0])]
    assert data["track_id"] == list(HOSTILE)
    assert data["columns"][2]["classes"] == sorted(HOSTILE)
    assert data["maps"][0]["name"] == HOSTILE[0]


@pytest.mark.parametrize("name", ["a b#c?d%20", "üñ\u2028", "a:b", "it's <b>", "x/../y"])
@pytest.mark.parametrize("place", ["page.html", "results/deep/page.html"])
def test_audio_folder_url_is_relative_to_the_page(tmp_path, name, place):
    folder = tmp_path / name
    (tmp_path / "x").mkdir()
    folder.mkdir(parents=True)
    page = write_page(tmp_path / place, make_tracks(3), audio=folder)
    url = data_of(page)["audio"]
    assert url.endswith("/")
    assert not url.startswith(("/", "file:"))
    full = urljoin(page.as_uri(), url + "track.wav")
    assert Path(unquote(full.removeprefix("file://"))) == folder.resolve() / "track.wav"


@pytest.mark.parametrize("count", [1, 3])
def test_neighbour_count_is_limited_by_the_number_of_tracks(tmp_path, count):
    maps = {"one": (np.ones((count, 2)), np.zeros((count, 2)))}
    tracks = make_tracks(count).assign(genre="")
    data = data_of(write_page(tmp_path / "page.html", tracks, maps))
    assert data["neighbours"] == count - 1
    assert len(data["maps"][0]["nearest"]) == count * (count - 1)
    assert data["columns"][2] == {"name": "genre", "classes": [], "codes": [-1] * count}
    assert set(data["maps"][0]["x"]) == {0.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: {"maps": {}}, "0 sets of features; give one or two"),
        (lambda t, m: {"tracks": t[:-1]}, "features of 60 tracks"),
        (lambda t, m: {"maps": {"a": (m["basic"][0], m["basic"][1][:-1])}}, "shape .59, 2."),
        (lambda t, m: {"maps": {"a": (m["basic"][0], m["basic"][1] * np.nan)}}, "without NaN"),
        (lambda t, m: {"maps": {"a": (m["basic"][0] * np.inf, m["basic"][1])}}, "NaN or inf"),
        (lambda t, m: {"labels": ["mood"]}, "has no column 'mood'"),
        (lambda t, m: {"tracks": t.assign(path=["../x.wav", *t["path"][1:]])}, "audio folder"),
        (lambda t, m: {"audio": "/nowhere/music"}, "/nowhere/music: audio folder not found"),
    ],
)
def test_write_explorer_rejects_invalid_inputs_and_keeps_the_previous_page(
    tmp_path, change, message
):
    page = tmp_path / "page.html"
    page.write_text("previous")
    tracks, maps = make_tracks(), make_maps()
    with pytest.raises(InputError, match=message) as error:
        write_page(page, **{"tracks": tracks, "maps": maps, **change(tracks, maps)})
    assert "\n" not in str(error.value)
    assert page.read_text() == "previous"
    assert list(tmp_path.iterdir()) == [page]


# ---------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def chrome():
    with browser.open_browser(*browser.WEBGL, *browser.AUTOPLAY) as driver:
        driver.set_script_timeout(60)
        yield driver


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """Return a page that shows sixty tracks with audio on two maps."""
    folder = tmp_path_factory.mktemp("explorer")
    tracks = make_tracks()
    for name in tracks["path"]:
        path = folder / "my music #1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(8000 * 20), 8000)
    return write_page(folder / "results/page.html", tracks, audio=folder / "my music #1")


@pytest.fixture
def driver(chrome, page):
    """Return a browser that shows the page."""
    show(chrome, page)
    return chrome


def show(driver, page: Path) -> None:
    """Open a page, wait until its maps are drawn, and check that there are no errors."""
    driver.get(page.as_uri())
    wait(driver, "return maps.every(({ plot }) => plot.matches('.js-plotly-plot'))")
    assert browser.console_errors(driver) == []


def wait(driver, script: str, *arguments):
    """Wait until a script returns a truthy value."""
    return WebDriverWait(driver, 20, poll_frequency=0.05).until(
        lambda driver: driver.execute_script(script, *arguments), script
    )


def texts(driver, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
    return driver.execute_script(script, selector)


def text(driver, selector: str) -> str:
    [one] = texts(driver, selector)
    return one


def menus(driver) -> list:
    """Return the drop-down menus for the colour, the artist, the subset and each label."""
    return [Select(one) for one in driver.find_elements("css selector", "#controls select")]


def playing(driver) -> str:
    """Wait until audio is playing, and return the path of the file."""
    wait(driver, "return !audio.paused && audio.currentTime > 0")
    return driver.execute_script("return decodeURIComponent(new URL(audio.currentSrc).pathname)")


def click_point(driver, track: int, number: int = 0) -> None:
    """Move the mouse to a track on a map and click it."""
    plot = driver.find_elements("css selector", ".plot")[number]
    driver.execute_script("arguments[0].scrollIntoView({block: 'nearest'})", plot)
    position = """const [{ plot, x, y }, track] = [maps[arguments[0]], arguments[1]];
        const { xaxis, yaxis } = plot._fullLayout;
        return [xaxis._offset + xaxis.l2p(x[track]) - plot.clientWidth / 2,
                yaxis._offset + yaxis.l2p(y[track]) - plot.clientHeight / 2];"""
    x, y = driver.execute_script(position, number, track)
    mouse = ActionChains(driver, duration=50)
    mouse.move_to_element_with_offset(plot, round(x) + 3, round(y)).pause(0.1)
    mouse.move_by_offset(-3, 0).pause(0.2).click().perform()


def press(driver, *keys: str) -> None:
    for key in keys:
        ActionChains(driver).send_keys(key).perform()


def neighbours_of(page: Path, number: int, track: int) -> list[str]:
    data = data_of(page)
    start = track * data["neighbours"]
    nearest = data["maps"][number]["nearest"][start : start + data["neighbours"]]
    return [data["track_id"][other] for other in nearest]


def test_click_plays_the_track_and_lists_its_neighbours(driver, page):
    click_point(driver, 23, 1)
    assert text(driver, "#name") == "track 00023"
    assert playing(driver).endswith("/my music #1/artist 3/track 23.wav")
    assert "artist: Artist 3" in text(driver, "#facts")
    assert text(driver, "#live").startswith("Selected: track 00023, Artist 3 · genre 3.")
    for number, near in enumerate(driver.find_elements("css selector", ".near")):
        names = [one.text for one in near.find_elements("css selector", ".name")]
        assert names == neighbours_of(page, number, 23)
    cosines = [float(one) for one in texts(driver, ".near .cosine")[:10]]
    assert cosines == sorted(cosines, reverse=True)
    assert browser.console_errors(driver) == []


@pytest.mark.slow
def test_click_on_a_neighbour_selects_it_and_both_maps_mark_it(driver, page):
    click_point(driver, 23)
    # Button 12 is the third neighbour on the second map (basic).
    driver.find_elements("css selector", ".near button")[12].click()
    name = neighbours_of(page, 1, 23)[2]
    track = int(name[-5:])
    assert text(driver, "#name") == name
    assert playing(driver).endswith(f"track {track}.wav")
    marked = """const [{ plot, x, y }, track] = [maps[arguments[0]], arguments[1]];
        const at = (one) => one.xanchor === x[track] && one.yanchor === y[track];
        const { shapes } = plot.layout;
        return shapes.length === 22 && shapes.slice(-2).every(at)
            && plot.querySelectorAll(".shapelayer path").length >= 22;"""
    for number in (0, 1):
        wait(driver, marked, number, track)
    assert driver.execute_script("return document.activeElement.id") == "name"


@pytest.mark.slow
def test_search_matches_track_id_artist_and_path(driver):
    box = driver.find_element("id", "search")
    for words, expected in {
        "00041": ["track 00041"],
        "ÁRTIST 13": ["track 00013", "track 00033", "track 00053"],
        "13/track 33.wav": ["track 00033"],
        "nobody": [],
    }.items():
        box.clear()
        box.send_keys(words)
        assert texts(driver, "#matches .name") == expected
        assert text(driver, "#count") == f"{len(expected)} of 60 tracks"
    wait(driver, "return maps.every(({ plot }) => plot.data.slice(1).every(({ x }) => !x.length))")
    box.send_keys(Keys.BACKSPACE * len("nobody"))
    assert text(driver, "#count") == "60 tracks"
    complete = "maps.every(({ plot }) => plot.data.length === 7 && !plot.data[0].x.length)"
    wait(driver, f"return {complete}")


@pytest.mark.slow
def test_filters_combine_subset_and_label(driver):
    _, artist, subset, genre = menus(driver)
    assert len(artist.options) == 21
    tracks = make_tracks()
    counts = tracks["genre"].value_counts().drop("").sort_index()
    options = ["all", *(f"{name} ({count})" for name, count in counts.items()), "no genre (9)"]
    assert [option.text for option in genre.options] == options
    subset.select_by_visible_text("test (15)")
    genre.select_by_visible_text("no genre (9)")
    expected = tracks[tracks["subset"].eq("test") & tracks["genre"].eq("")]
    assert texts(driver, "#matches .name") == expected["track_id"].tolist()
    drawn = "maps.map(({ plot }) => plot.data.slice(1).flatMap(({ x }) => [...x]).length)"
    wait(driver, f"return {drawn}.every((n) => n === arguments[0])", 2)
    assert driver.execute_script("return maps[0].plot.data[0].x.length") == 58


@pytest.mark.slow
def test_tracks_can_be_filtered_by_each_of_their_tags(chrome, tmp_path):
    tags = ["piano|bass", "", "bass", "bass drum", "voice|bass", "piano"]
    tracks = make_tracks(6).assign(tags=tags)
    show(chrome, write_page(tmp_path / "page.html", tracks, labels=("tags",)))
    menu = menus(chrome)[3]
    labels = ["bass (3)", "bass drum (1)", "piano (2)", "voice (1)", "no tags (1)"]
    assert [option.text for option in menu.options] == ["all", *labels]
    menu.select_by_visible_text("bass (3)")
    assert texts(chrome, "#matches .name") == ["track 00000", "track 00002", "track 00004"]


@pytest.mark.slow
def test_colours_show_the_chosen_column(driver):
    colour = menus(driver)[0]
    assert [option.text for option in colour.options] == ["artist", "subset", "genre"]
    colour.select_by_visible_text("subset")
    assert texts(driver, "#legend li") == ["● train (30)", "■ test (15)", "◆ valid (15)"]
    wait(driver, "return maps.every(({ plot }) => plot.data.length === 4)")
    colours = driver.execute_script("return maps[0].plot.data.slice(1).map((t) => t.marker.color)")
    assert len(set(colours)) == 3
    colour.select_by_visible_text("artist")
    legend = texts(driver, "#legend li")
    assert len(legend) == 13 and legend[-1] == "● other: 8 more (24)"


@pytest.mark.slow
def test_legend_lists_the_largest_classes_and_artists_can_be_filtered(chrome, tmp_path):
    counts = {f"Artist {n:02d}": n for n in range(1, 16)} | {"": 3}
    artists = [name for name, count in counts.items() for _ in range(count)]
    tracks = make_tracks(len(artists)).assign(artist=artists)
    show(chrome, write_page(tmp_path / "page.html", tracks, labels=("artist",)))
    legend = [one[2:] for one in texts(chrome, "#legend li")]
    largest = [f"Artist {n:02d} ({n})" for n in range(15, 3, -1)]
    assert legend == [*largest, "other: 3 more (6)", "no artist (3)"]
    traces = chrome.execute_script("return maps[0].plot.data.map(({ x }) => x.length)")
    assert traces == [0, 3, 6, *range(15, 3, -1)]  # the small classes are drawn last
    menus(chrome)[1].select_by_visible_text("Artist 02 (2)")
    assert texts(chrome, "#matches .name") == ["track 00001", "track 00002"]


@pytest.mark.slow
def test_titles_are_shown_and_searched(chrome, tmp_path):
    tracks = make_tracks(4).assign(title=["First <b>Song</b>", "", "Größe", "Second song"])
    show(chrome, write_page(tmp_path / "page.html", tracks))
    names = ["First <b>Song</b>", "track 00001", "Größe", "Second song"]
    assert texts(chrome, "#matches .name") == names
    for words, expected in {"song": [names[0], names[3]], "grosse": [], "große": ["Größe"]}.items():
        chrome.find_element("id", "search").clear()
        chrome.find_element("id", "search").send_keys(words)
        assert texts(chrome, "#matches .name") == expected


@pytest.mark.slow
def test_zoom_survives_a_search_and_the_view_follows_the_selected_track(driver):
    spans = "maps.map(({ plot: { layout } }) => layout.yaxis.range[1] - layout.yaxis.range[0])"
    [whole, other] = driver.execute_script(f"return {spans}")
    driver.find_element("css selector", "[aria-label='Zoom into siamese']").click()
    wait(driver, f"return {spans}[0] < arguments[0] * 0.9", whole)
    zoomed = driver.execute_script(f"return {spans}")
    driver.find_element("id", "search").send_keys("artist 3")
    wait(driver, "return maps.every(({ plot }) => plot.data[0].x.length)")
    assert driver.execute_script(f"return {spans}") == zoomed == [zoomed[0], other]
    for track in (0, 13, 26, 59):
        driver.execute_script("select(arguments[0])", track)
        wait(driver, "return viewed(maps[0]).contains(maps[0].x[selected], maps[0].y[selected])")
    driver.find_element("css selector", "[aria-label='Whole map of siamese']").click()
    wait(driver, f"return Math.abs({spans}[0] - arguments[0]) < 1e-9", whole)


@pytest.mark.slow
def test_track_can_be_found_and_played_by_keyboard_alone(driver):
    for _ in range(40):
        if driver.execute_script("return document.activeElement.id === 'search'"):
            break
        press(driver, Keys.TAB)
    press(driver, "00041", Keys.TAB, Keys.ENTER)
    assert playing(driver).endswith("track 41.wav")
    press(driver, Keys.ESCAPE)
    assert driver.execute_script("return audio.paused")


@pytest.mark.slow
def test_arrow_keys_move_through_maps_and_lists(driver):
    driver.execute_script("document.querySelectorAll('.map')[0].focus()")
    press(driver, Keys.ARROW_RIGHT)  # the first arrow key press selects the first track
    assert text(driver, "#name") == "track 00000"
    position = "return [maps[0].x[selected], maps[0].y[selected]]"
    before = driver.execute_script(position)
    key, direction = (Keys.ARROW_RIGHT, 1) if before[0] < 0.5 else (Keys.ARROW_LEFT, -1)
    press(driver, key)
    after = driver.execute_script(position)
    assert (after[0] - before[0]) * direction > 0
    assert after[1] == before[1]  # the tracks lie on a grid, so the row stays the same
    driver.execute_script("document.querySelector('#matches button').focus()")
    press(driver, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ENTER)
    assert text(driver, "#name") == "track 00001"
    assert texts(driver, "#matches [aria-current] .name") == ["track 00001"]


@pytest.mark.slow
def test_list_shows_all_tracks_and_controls_have_accessible_names(driver):
    assert len(texts(driver, "#matches li")) == 50
    driver.find_element("id", "more").click()
    assert texts(driver, "#matches .name") == make_tracks()["track_id"].tolist()
    assert driver.execute_script("return document.activeElement.dataset.track") == "50"
    assert not driver.find_element("id", "more").is_displayed()
    for one in driver.find_elements("css selector", "button, input, select, audio, .map, ol, ul"):
        assert one.accessible_name or not one.is_displayed(), one.get_attribute("outerHTML")
    driver.find_element("css selector", "#matches button").click()
    roles = [one.aria_role for one in driver.find_elements("css selector", "#matches, .near")]
    assert roles == ["list"] * 3
    assert driver.find_element("id", "live").get_attribute("aria-live") == "polite"


@pytest.mark.slow
def test_hostile_names_are_shown_as_text(chrome, tmp_path):
    tracks = name_all(make_tracks(len(HOSTILE)), HOSTILE)
    tracks["path"] = [f"{name.replace(':', '').replace('/', '_')}.wav" for name in HOSTILE]
    music = tmp_path / "music"
    music.mkdir()
    for path in tracks["path"]:
        soundfile.write(music / path, np.zeros(8000 * 20), 8000, format="WAV")
    maps = dict(zip(HOSTILE, make_maps(len(HOSTILE)).values(), strict=False))
    show(chrome, write_page(tmp_path / "page.html", tracks, maps, music, HOSTILE[1]))
    assert text(chrome, "h1") == HOSTILE[1]
    assert texts(chrome, ".side h2") == list(HOSTILE[:2])
    assert texts(chrome, "#matches .name") == list(HOSTILE)
    for track, name in enumerate(HOSTILE):
        click_point(chrome, track)  # hovering before the click shows the tooltip
        assert text(chrome, "#name") == name
        assert name in text(chrome, "#tip")
        assert playing(chrome).endswith("/" + tracks["path"][track])
    assert chrome.execute_script("return document.querySelectorAll('img, b, main a').length") == 0
    assert chrome.execute_script("return document.scripts.length") == 3
    assert browser.console_errors(chrome) == []  # an alert would have made the chrome fail


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attempt", "directive"),
    [
        ("fetch('http://127.0.0.1:9/').catch(() => {})", "connect-src"),
        ("new Image().src = 'http://127.0.0.1:9/x.png'", "img-src"),
        ("document.body.append(element('script', 'window.bad = 1'))", "script-src-elem"),
        ("audio.src = 'http://127.0.0.1:9/x.wav'", "media-src"),
    ],
)
def test_browser_blocks_network_and_foreign_scripts(driver, attempt, directive):
    listen = "addEventListener('securitypolicyviolation', (e) => done(e.effectiveDirective));"
    blocked = driver.execute_async_script(f"const done = arguments[0]; {listen} {attempt};")
    assert blocked == directive
    assert driver.execute_script("return window.bad === undefined")
    assert browser.console_errors(driver)


@pytest.mark.slow
def test_page_reports_missing_audio(chrome, tmp_path):
    tracks = make_tracks(9)
    # A track whose id is its path is shown by its file name.
    silent = write_page(tmp_path / "silent.html", tracks.assign(track_id=tracks["path"]))
    show(chrome, silent)
    click_point(chrome, 4)
    assert text(chrome, "#name") == "track 4.wav"
    assert "file: artist 4/track 4.wav" in text(chrome, "#facts")
    assert text(chrome, "#note") == "no audio"
    assert not chrome.find_element("id", "audio").is_displayed()
    show(chrome, write_page(tmp_path / "missing.html", tracks, audio=tmp_path))
    click_point(chrome, 4)
    wait(chrome, "return note.textContent.includes('cannot play')")
    [error] = browser.console_errors(chrome)
    assert "ERR_FILE_NOT_FOUND" in error


@pytest.mark.slow
def test_tracks_are_drawn_without_webgl(page):
    with browser.open_browser(*browser.NO_WEBGL, *browser.AUTOPLAY) as driver:
        show(driver, page)
        assert "no WebGL" in text(driver, "#marks")
        click_point(driver, 23)
        assert text(driver, "#name") == "track 00023"
        assert browser.console_errors(driver) == []


@pytest.mark.slow
def test_narrow_window_stacks_panels_and_shows_the_focused_element(driver, page):
    hidden = """
        const [one, panel] = [document.activeElement, document.getElementById("selected")];
        const [box, top] = [one.getBoundingClientRect(), panel.getBoundingClientRect()];
        return !panel.contains(one) && box.top < top.bottom && box.bottom > top.top
            && getComputedStyle(panel).position === "sticky" ? one.outerHTML.slice(0, 90) : null;
    """
    tracks = make_tracks().assign(genre=lambda table: table["genre"].str.repeat(20))
    long = write_page(page.with_name("long.html"), tracks, title="a_long_name_" * 9)
    with browser.narrow_window(driver):
        show(driver, long)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 400
        show(driver, page)
        driver.execute_script("select(3); document.getElementById('search').focus()")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 400
        panels = "return [...document.querySelectorAll('.side, #tracks')]"
        tops = driver.execute_script(f"{panels}.map((one) => one.getBoundingClientRect().top)")
        assert tops == sorted(set(tops))
        for _ in range(30):  # Shift+Tab moves back through neighbours, maps and buttons
            keys = ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.TAB)
            keys.key_up(Keys.SHIFT).perform()
            assert driver.execute_script(hidden) is None


@pytest.mark.slow
def test_page_with_ten_thousand_tracks_responds_within_100_ms(chrome, tmp_path):
    count, random = 10_000, np.random.default_rng(0)
    features, planes = random.normal(size=(2, count, 16)), random.normal(size=(2, count, 2))
    maps = dict(zip(("siamese", "basic"), zip(features, planes, strict=True), strict=True))
    show(chrome, write_page(tmp_path / "big.html", make_tracks(count, genres=12), maps))
    search, choose = "document.getElementById('search')", "document.querySelectorAll('select')[3]"
    actions = {
        "click": [f"select({track})" for track in range(7)],
        "search": [
            f"{search}.value = '{'artist1'[:n]}'; {search}.dispatchEvent(new Event('input'))"
            for n in range(1, 8)
        ],
        "filter": [
            f"{choose}.selectedIndex = {n}; {choose}.dispatchEvent(new Event('change'))"
            for n in range(1, 8)
        ],
    }
    for name, scripts in actions.items():
        times = [
            chrome.execute_async_script(
                f"const start = performance.now(); {script};"
                "requestAnimationFrame(() => arguments[0](performance.now() - start))"
            )
            for script in scripts
        ]
        assert np.median(times) < 100, (name, times)
