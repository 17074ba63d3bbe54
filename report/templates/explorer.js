"use strict";
// The page of tracks that report/explorer.py writes. Names are untrusted: they go into the page
// through textContent only, and never to Plotly.

const data = JSON.parse(document.getElementById("data").textContent);
const [nameBox, facts, audio, note, live, search, matches, more, tip] = [
  "name", "facts", "audio", "note", "live", "search", "matches", "more", "tip",
].map((id) => document.getElementById(id));

const PAGE = 50; // tracks added to the list at a time
const SETTLE = 150; // milliseconds without a keystroke before the maps are drawn again
const LEGEND = 12; // classes with a colour and symbol of their own, the largest ones
const [OTHER, MISSING] = [LEGEND, LEGEND + 1]; // ranks of other classes, and of missing labels
// Colours by Okabe and Ito, darkened where their contrast with the background is below 3:1. There
// is one symbol more than colours, so that no two classes share both.
const COLOURS = {
  light: ["#005A9C", "#B07500", "#008A63", "#D55E00", "#3393CC", "#B85A90", "#000000"],
  dark: ["#56B4E9", "#E69F00", "#009E73", "#D55E00", "#F0E442", "#CC79A7", "#FFFFFF"],
};
const SYMBOLS = [
  ["circle", "●"], ["square", "■"], ["diamond", "◆"], ["triangle-up", "▲"],
  ["triangle-down", "▼"], ["cross", "✚"], ["x", "✖"], ["star", "★"],
];
const ARROWS = {
  ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1],
};

const tracks = data.track_id.length;
const everyTrack = data.track_id.map((_, track) => track);
const dark = matchMedia("(prefers-color-scheme: dark)");
const webgl = Boolean(document.createElement("canvas").getContext("webgl"));
const thousands = (count) => count.toLocaleString("en");
const normalise = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const searchTexts = everyTrack.map((track) =>
  normalise([data.track_id[track], data.title?.[track] ?? "", label(data.columns[0], track),
    data.path[track]].join("\n")));

let selected = null;
let shown = everyTrack; // tracks that match search and filters
let listed = PAGE;

function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function button(text, attributes, click) {
  const made = element("button", text, { type: "button", ...attributes });
  made.addEventListener("click", click);
  return made;
}

// Run a function before the next frame, once for several calls within the delay.
const timers = new Map();
function schedule(run, delay = 0) {
  clearTimeout(timers.get(run));
  timers.set(run, setTimeout(() => requestAnimationFrame(run), delay));
}

// ---------------------------------------------------------------- tracks and labels

function label(column, track) {
  return className(column, column.codes[track]);
}

function className(column, code) {
  return code < 0 ? `no ${column.name}` : column.classes[code];
}

function style(rank) {
  if (rank === OTHER) return { colour: cssColour("quiet"), symbol: SYMBOLS[0] };
  if (rank === MISSING) return { colour: cssColour("quiet"), symbol: SYMBOLS[6] };
  const colours = COLOURS[dark.matches ? "dark" : "light"];
  return { colour: colours[rank % colours.length], symbol: SYMBOLS[rank % SYMBOLS.length] };
}

function cssColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// The title, or else the track id; the file name is enough if the id is its path, as the artist is
// shown beside it.
function trackName(track) {
  const [id, path] = [data.track_id[track], data.path[track]];
  return data.title?.[track] ? data.title[track] : id === path ? path.split("/").at(-1) : id;
}

function labels(track) {
  return data.columns.filter((column) => column.name !== "subset")
    .map((column) => label(column, track)).join(" · ");
}

function glyph(rank) {
  const { colour, symbol } = style(rank);
  const made = element("span", symbol[1], { class: "glyph", "aria-hidden": "true" });
  made.style.color = colour;
  return made;
}

function listItem(track, cosine) {
  const item = element("li");
  const made = button("", { "data-track": track }, () => select(track, item.closest(".near")));
  made.append(
    glyph(rankOf(colourColumn().codes[track])),
    element("span", trackName(track), { class: "name", title: data.track_id[track] }), " ",
    element("span", labels(track), { class: "about" }),
  );
  if (cosine !== undefined) {
    made.append(element("span", " cosine ", { class: "unseen" }),
      element("span", cosine.toFixed(3), { class: "cosine" }));
  }
  item.append(made);
  return item;
}

// ---------------------------------------------------------------- selection and audio

function select(track, fromNeighbours = false) {
  selected = track;
  nameBox.textContent = trackName(track);
  facts.textContent = [
    ...data.columns.map((column) => `${column.name}: ${label(column, track)}`),
    `file: ${data.path[track]}`,
  ].join(" · ");
  for (const map of maps) {
    map.near.replaceChildren(...neighbours(map, track).map(([other, cosine]) =>
      listItem(other, cosine)));
  }
  markCurrent();
  const counts = maps.map((map) => `${data.neighbours} nearest by ${map.name}`);
  live.textContent = `Selected: ${trackName(track)}, ${labels(track)}. ${counts.join(", ")}.`;
  if (fromNeighbours) nameBox.focus(); // the button with the focus is gone
  play(track);
  schedule(drawMarks);
}

function markCurrent() {
  for (const item of matches.querySelectorAll("button")) {
    if (Number(item.dataset.track) === selected) item.setAttribute("aria-current", "true");
    else item.removeAttribute("aria-current");
  }
}

function neighbours(map, track) {
  const start = track * data.neighbours;
  return Array.from({ length: data.neighbours }, (_, rank) =>
    [map.nearest[start + rank], map.cosine[start + rank]]);
}

function play(track) {
  if (data.audio === null) return;
  const parts = data.path[track].split("/").map((part) => encodeURIComponent(part.toWellFormed()));
  audio.src = data.audio + parts.join("/");
  note.textContent = "";
  audio.play().catch((error) => {
    if (error.name === "NotAllowedError") note.textContent = "press play to listen";
  }); // another selection is no error; a file that cannot be played is reported below
}

function prepareAudio() {
  note.textContent = data.audio === null ? "no audio" : "";
  audio.hidden = data.audio === null;
  audio.addEventListener("error", () => {
    note.textContent = "file not found, or the browser cannot play it";
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") audio.pause();
  });
}

// ---------------------------------------------------------------- search, filters and the list

const filters = [];
let colourMenu;
let coloured = new Map(); // {code: rank} of the classes with a colour of their own

function colourColumn() {
  return data.columns[colourMenu.value];
}

function rankOf(code) {
  return code < 0 ? MISSING : coloured.get(code) ?? OTHER;
}

function menu(text, options, change) {
  const box = element("label", text);
  const made = element("select");
  made.append(...options.map(([name, value]) => element("option", name, { value })));
  made.addEventListener("change", change);
  box.append(made);
  document.getElementById("controls").append(box);
  return made;
}

// The classes of a column in order, as [name, code, count]; tracks without a label come last.
function countClasses(column) {
  const counts = new Map();
  for (const code of column.codes) counts.set(code, (counts.get(code) ?? 0) + 1);
  return [...counts].sort(([one], [other]) => (one < 0) - (other < 0) || one - other)
    .map(([code, count]) => [className(column, code), code, count]);
}

// The labels of a column, each with its classes: the class `bass|piano` has two labels.
function countLabels(column) {
  const counts = new Map();
  const classes = countClasses(column);
  for (const [name, code, count] of classes.filter(([, code]) => code >= 0)) {
    for (const part of name.split("|")) {
      const entry = counts.get(part) ?? { name: part, codes: new Set(), count: 0 };
      entry.codes.add(code);
      entry.count += count;
      counts.set(part, entry);
    }
  }
  const missing = classes.filter(([, code]) => code < 0)
    .map(([name, code, count]) => ({ name, codes: new Set([code]), count }));
  return [...[...counts.values()].sort((one, other) => one.name < other.name ? -1 : 1), ...missing];
}

function fillControls() {
  const names = data.columns.map((column, number) => [column.name, number]);
  colourMenu = menu("Colour by", names, () => { fillLegend(); fillList(); schedule(draw); });
  colourMenu.value = data.colour;
  for (const column of data.columns) {
    const entries = countLabels(column);
    const options = entries.map(({ name, count }, entry) =>
      [`${name} (${thousands(count)})`, entry]);
    const box = menu(column.name, [["all", ""], ...options], () => { filter(); schedule(draw); });
    filters.push({ codes: column.codes, entries, box });
  }
  search.addEventListener("input", () => { filter(); schedule(draw, SETTLE); });
  more.addEventListener("click", () => {
    listed += PAGE;
    fillList();
    matches.children[listed - PAGE].firstChild.focus();
  });
  document.addEventListener("keydown", (event) => {
    const item = event.target.closest(".list li");
    if (!item || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
    event.preventDefault();
    const next = event.key === "ArrowDown" ? item.nextElementSibling : item.previousElementSibling;
    next?.firstChild.focus();
  });
}

// Give the largest classes a colour and symbol each, and explain them.
function fillLegend() {
  const classes = countClasses(colourColumn());
  const named = classes.filter(([, code]) => code >= 0)
    .sort(([, , one], [, , other]) => other - one); // classes of one size stay in order
  coloured = new Map(named.slice(0, LEGEND).map(([, code], rank) => [code, rank]));
  const others = named.slice(LEGEND);
  const rest = others.reduce((sum, [, , count]) => sum + count, 0);
  const entries = [
    ...named.slice(0, LEGEND).map(([name, , count], rank) => [name, rank, count]),
    ...(others.length ? [[`other: ${thousands(others.length)} more`, OTHER, rest]] : []),
    ...classes.filter(([, code]) => code < 0).map(([name, , count]) => [name, MISSING, count]),
  ];
  const items = entries.map(([name, rank, count]) => {
    const item = element("li", "", { title: name });
    const text = element("span", name, { class: "class" });
    item.append(glyph(rank), " ", text, ` (${thousands(count)})`);
    return item;
  });
  document.getElementById("legend").replaceChildren(...items);
}

function filter() {
  const words = normalise(search.value).split(/\s+/).filter(Boolean);
  const wanted = filters.filter(({ box }) => box.value !== "")
    .map(({ codes, entries, box }) => [codes, entries[box.value].codes]);
  shown = everyTrack.filter((track) =>
    wanted.every(([codes, label]) => label.has(codes[track]))
      && words.every((word) => searchTexts[track].includes(word)));
  listed = PAGE;
  fillList();
}

function fillList() {
  matches.replaceChildren(...shown.slice(0, listed).map((track) => listItem(track)));
  markCurrent();
  const all = `${thousands(tracks)} tracks`;
  document.getElementById("count").textContent =
    shown.length === tracks ? all : `${thousands(shown.length)} of ${all}`;
  more.hidden = shown.length <= listed;
  more.textContent = `${Math.min(PAGE, shown.length - listed)} more of ${thousands(shown.length)}`;
}

// ---------------------------------------------------------------- maps

const maps = data.maps.map((map) => {
  const side = element("section", "", { class: "side", "aria-label": map.name });
  const head = element("div", "", { class: "head" });
  const plot = element("div", "", { class: "plot", "aria-hidden": "true" });
  const frame = element("div", "", {
    class: "map",
    tabindex: 0,
    role: "application",
    "aria-label": `Map of tracks by ${map.name}. Arrow keys select the next track that way.`,
  });
  const near = element("ol", "", {
    class: "list near",
    role: "list",
    "aria-label": `Nearest by ${map.name}`,
  });
  const made = { ...map, plot, near, order: [] };
  head.append(
    element("h2", map.name),
    button("−", { "aria-label": `Zoom out of ${map.name}` }, () => zoom(made, 1.5)),
    button("+", { "aria-label": `Zoom into ${map.name}` }, () => zoom(made, 1 / 1.5)),
    button("whole", { "aria-label": `Whole map of ${map.name}` }, () =>
      Plotly.relayout(plot, wholeView(made))),
  );
  frame.append(plot);
  frame.addEventListener("keydown", (event) => step(made, event));
  side.append(head, frame, element("h3", `Nearest by ${map.name}, with cosine similarity`), near);
  document.getElementById("maps").append(side);
  return made;
});

// Axis ranges around a point. Plotly widens one of them to the shape of the map.
function view(x, y, half, halfHeight = half) {
  return {
    "xaxis.range": [x - half, x + half], "yaxis.range": [y - halfHeight, y + halfHeight],
  };
}

// Axis ranges that contain all tracks, which lie around the centre of the unit square.
function wholeView({ x, y }) {
  const half = (values) =>
    values.reduce((most, value) => Math.max(most, Math.abs(value - 0.5)), 0) + 0.04;
  return view(0.5, 0.5, half(x), half(y));
}

// The centre of a map's view, and the shorter half of its sides.
function viewed({ plot: { layout: { xaxis, yaxis } } }) {
  const [[left, right], [bottom, top]] = [xaxis.range, yaxis.range];
  return {
    x: (left + right) / 2,
    y: (bottom + top) / 2,
    half: Math.min(right - left, top - bottom) / 2,
    contains: (x, y) => left <= x && x <= right && bottom <= y && y <= top,
  };
}

function zoom(map, factor) {
  const { x, y, half } = viewed(map);
  Plotly.relayout(map.plot, view(x, y, half * factor));
}

// Select the nearest shown track within 45 degrees of an arrow key's direction.
function step(map, event) {
  if (!(event.key in ARROWS)) return;
  event.preventDefault();
  if (selected === null) {
    if (shown.length) select(shown[0]);
    return;
  }
  const [right, up] = ARROWS[event.key];
  let [best, least] = [null, Infinity];
  for (const track of shown) {
    const [x, y] = [map.x[track] - map.x[selected], map.y[track] - map.y[selected]];
    const [ahead, aside, far] = [x * right + y * up, Math.abs(x * up - y * right), x * x + y * y];
    if (ahead > 0 && ahead >= aside && far < least) [best, least] = [track, far];
  }
  if (best !== null) select(best);
}

// One trace per colour and symbol: Plotly draws it several times faster than arrays of styles.
function draw() {
  const { codes } = colourColumn();
  const groups = new Map();
  const others = new Set(everyTrack);
  for (const track of shown) {
    others.delete(track);
    const key = rankOf(codes[track]);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(track);
  }
  const height = (rank) => rank < LEGEND ? rank : -rank; // small classes are drawn on top
  const ordered = [...groups].sort(([one], [other]) => height(one) - height(other));
  const size = tracks > 5000 ? 5 : tracks > 1000 ? 6 : 9;
  for (const map of maps) {
    const trace = (group, marker, hoverinfo) => ({
      type: webgl ? "scattergl" : "scatter",
      mode: "markers",
      x: group.map((track) => map.x[track]),
      y: group.map((track) => map.y[track]),
      marker,
      hoverinfo,
    });
    map.order = [[...others], ...ordered.map(([, group]) => group)];
    const traces = ordered.map(([rank, group]) => {
      const { colour, symbol } = style(rank);
      const line = { color: cssColour("ground"), width: 0.5 };
      return trace(group, { color: colour, symbol: symbol[0], size, opacity: 1, line }, "none");
    });
    const faint = trace(map.order[0], { color: cssColour("faint"), size: size - 1 }, "skip");
    const whole = wholeView(map);
    const { xaxis, yaxis } = map.plot.layout ?? { // which keeps the current view
      xaxis: { visible: false, range: whole["xaxis.range"] },
      yaxis: { visible: false, range: whole["yaxis.range"], scaleanchor: "x" },
    };
    const layout = {
      xaxis,
      yaxis,
      margin: { l: 0, r: 0, t: 0, b: 0 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      dragmode: "pan",
      hovermode: "closest",
      hoverdistance: 12,
      showlegend: false,
      shapes: marks(map),
    };
    const config = { responsive: true, scrollZoom: true, displayModeBar: false, showTips: false };
    Plotly.react(map.plot, [faint, ...traces], layout, config);
    if (!map.listening) listen(map);
  }
}

function listen(map) {
  map.listening = true;
  const track = ({ points: [{ curveNumber, pointNumber }] }) => map.order[curveNumber][pointNumber];
  map.plot.on("plotly_click", (event) => select(track(event)));
  map.plot.on("plotly_hover", (event) => {
    tip.textContent = `${trackName(track(event))} · ${labels(track(event))}`;
    tip.hidden = false;
    const { clientX, clientY } = event.event;
    tip.style.left = `${Math.min(clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
  });
  map.plot.on("plotly_unhover", () => { tip.hidden = true; });
}

// Marks of the selected track and its neighbours by each set of features, on both maps. They are
// shapes because drawing shapes again leaves the points alone.
function marks(map) {
  if (selected === null) return [];
  const shape = (track, half, options) => ({
    xref: "x", yref: "y", xsizemode: "pixel", ysizemode: "pixel",
    xanchor: map.x[track], yanchor: map.y[track],
    x0: -half, x1: half, y0: -half, y1: half, ...options,
  });
  const rings = maps.flatMap((other, number) => neighbours(other, selected).map(([track]) =>
    shape(track, 6 + 2 * number, {
      type: number ? "rect" : "circle", line: { color: cssColour("ink"), width: 1.5 },
    })));
  const line = { color: cssColour("accent"), width: 3 };
  const cross = "M -16 0 L -8 0 M 8 0 L 16 0 M 0 -16 L 0 -8 M 0 8 L 0 16";
  return [...rings, shape(selected, 8, { type: "circle", line }),
    shape(selected, 0, { type: "path", path: cross, line })];
}

// Draw the marks, and move a map whose view does not contain the selected track.
function drawMarks() {
  for (const map of maps) {
    const { half, contains } = viewed(map);
    const [x, y] = [map.x[selected], map.y[selected]];
    Plotly.relayout(map.plot,
      { shapes: marks(map), ...(contains(x, y) ? {} : view(x, y, half)) });
  }
}

function explainMarks() {
  const texts = ["⊕ selected", ...maps.map(({ name }, number) =>
    `${number ? "□" : "○"} nearest by ${name}`)];
  if (!webgl) texts.push("This browser has no WebGL: many tracks are slow to draw.");
  document.getElementById("marks").append(
    ...texts.map((text) => element("li", text, { title: text })));
}

// Scroll the focused element clear of the selected track, which stays on top.
function keepClear() {
  const panel = document.getElementById("selected");
  new ResizeObserver(() => {
    document.documentElement.style.scrollPaddingTop = `${panel.offsetHeight + 8}px`;
  }).observe(panel);
}

fillControls();
fillLegend();
keepClear();
prepareAudio();
explainMarks();
fillList();
draw();
dark.addEventListener("change", () => { fillLegend(); fillList(); draw(); });
