"use strict";
// The page that evaluation/explorer.py writes: songs on maps, to be heard and compared.
// Names are anybody's: they go into the page by textContent alone, and never to Plotly.

const data = JSON.parse(document.getElementById("data").textContent);
const [nameBox, facts, audio, note, live, search, found, more, tip] = [
  "name", "facts", "audio", "note", "live", "search", "found", "more", "tip",
].map((id) => document.getElementById(id));

const PAGE = 50; // songs listed at a time
const SETTLE = 150; // ms without a keystroke, after which the maps follow the list
const LEGEND = 24; // classes named below the menus
// Okabe and Ito's colours, darker where they would not stand out 3:1 from the ground; one symbol
// more than colours, so that no pair of both comes again before 56 classes.
const COLOURS = {
  light: ["#005A9C", "#B07500", "#008A63", "#D55E00", "#3393CC", "#B85A90", "#000000"],
  dark: ["#56B4E9", "#E69F00", "#009E73", "#D55E00", "#F0E442", "#CC79A7", "#FFFFFF"],
};
const SYMBOLS = [
  ["circle", "●"], ["square", "■"], ["diamond", "◆"], ["triangle-up", "▲"],
  ["triangle-down", "▼"], ["cross", "✚"], ["x", "✖"], ["star", "★"],
];
const STYLES = COLOURS.light.length * SYMBOLS.length;
const ARROWS = {
  ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1],
};

const songs = data.track_id.length;
const dark = matchMedia("(prefers-color-scheme: dark)");
const webgl = Boolean(document.createElement("canvas").getContext("webgl"));
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const [artist] = data.columns;
const haystack = data.track_id.map((id, song) =>
  plain(`${id}\n${label(artist, song)}\n${data.path[song]}`));

let chosen = null;
let shown = data.track_id.map((_, song) => song); // songs that search and filters leave
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

const later = {}; // what is to run when the page has shown what matters more
function soon(run, delay = 0) {
  clearTimeout(later[run.name]);
  later[run.name] = setTimeout(() => requestAnimationFrame(run), delay);
}

// ---------------------------------------------------------------- songs and their labels

function label(column, song) {
  return nameOf(column, column.codes[song]);
}

function nameOf(column, code) {
  return code < 0 ? `no ${column.name}` : column.classes[code];
}

function style(code) {
  if (code < 0) return { colour: ink("quiet"), symbol: SYMBOLS[0] };
  const colours = COLOURS[dark.matches ? "dark" : "light"];
  return { colour: colours[code % colours.length], symbol: SYMBOLS[code % SYMBOLS.length] };
}

function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Of a track that is known by its path, the artist stands beside it: the file's name will do.
function named(song) {
  const [id, path] = [data.track_id[song], data.path[song]];
  return id === path ? path.split("/").at(-1) : id;
}

function about(song) {
  return data.columns.filter((column) => column.name !== "subset")
    .map((column) => label(column, song)).join(" · ");
}

function glyph(code) {
  const { colour, symbol } = style(code);
  const made = element("span", symbol[1], { class: "glyph", "aria-hidden": "true" });
  made.style.color = colour;
  return made;
}

function row(song, cosine) {
  const item = element("li");
  const made = button("", { "data-song": song }, () => choose(song, item.closest(".near")));
  made.append(
    glyph(colouring().codes[song]),
    element("span", named(song), { class: "name", title: data.track_id[song] }), " ",
    element("span", about(song), { class: "about" }),
  );
  if (cosine !== undefined) {
    made.append(element("span", " cosine ", { class: "unseen" }),
      element("span", cosine.toFixed(3), { class: "cosine" }));
  }
  item.append(made);
  return item;
}

// ---------------------------------------------------------------- choosing and hearing

function choose(song, fromNeighbours = false) {
  chosen = song;
  nameBox.textContent = named(song);
  facts.textContent = [
    ...data.columns.map((column) => `${column.name}: ${label(column, song)}`),
    `file: ${data.path[song]}`,
  ].join(" · ");
  for (const map of maps) {
    map.near.replaceChildren(...neighbours(map, song).map(([other, cosine]) => row(other, cosine)));
  }
  for (const item of found.querySelectorAll("button")) setCurrent(item);
  const nearest = maps.map((map) => `${map.near.childElementCount} nearest by ${map.name}`);
  live.textContent = `Chosen: ${named(song)}, ${about(song)}. ${nearest.join(", ")}.`;
  if (fromNeighbours) nameBox.focus(); // the button that had the focus is gone
  play(song);
  soon(mark);
}

function setCurrent(item) {
  if (Number(item.dataset.song) === chosen) item.setAttribute("aria-current", "true");
  else item.removeAttribute("aria-current");
}

function neighbours(map, song) {
  const start = song * data.neighbours;
  return Array.from({ length: data.neighbours }, (_, rank) =>
    [map.nearest[start + rank], map.cosine[start + rank]]);
}

function play(song) {
  if (data.audio === null) return;
  const parts = data.path[song].split("/").map((part) => encodeURIComponent(part.toWellFormed()));
  audio.src = data.audio + parts.join("/");
  note.textContent = "";
  audio.play().catch((error) => {
    if (error.name === "NotAllowedError") note.textContent = "press play to hear it";
  }); // another song chosen meanwhile is no error; a file that cannot be played is told below
}

function prepareAudio() {
  note.textContent = data.audio === null ? "no audio" : "";
  audio.hidden = data.audio === null;
  audio.addEventListener("error", () => {
    note.textContent = "the browser cannot play this file, or it is not there";
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") audio.pause();
  });
}

// ---------------------------------------------------------------- search, filters and the list

const filters = [];
let colour;

function colouring() {
  return data.columns[colour.value];
}

function menu(text, options, change) {
  const box = element("label", text);
  const made = element("select");
  options.forEach(([name, value]) => made.append(element("option", name, { value })));
  made.addEventListener("change", change);
  box.append(made);
  document.getElementById("controls").append(box);
  return made;
}

function counted(column) {
  const counts = new Map();
  for (const code of column.codes) counts.set(code, (counts.get(code) ?? 0) + 1);
  return [...counts].sort(([one], [other]) => (one < 0) - (other < 0) || one - other)
    .map(([code, count]) => [nameOf(column, code), code, count]);
}

// The labels of a column, each with the classes that hold it: `bass|piano`, of tags, holds two.
function labelsOf(column) {
  const labels = new Map();
  for (const [name, code, count] of counted(column)) {
    for (const part of code < 0 ? [null] : name.split("|")) {
      const label = labels.get(part) ?? { name: part ?? name, codes: new Set(), count: 0 };
      label.codes.add(code);
      label.count += count;
      labels.set(part, label);
    }
  }
  const none = labels.get(null);
  labels.delete(null);
  const sorted = [...labels.values()].sort((one, other) => one.name < other.name ? -1 : 1);
  return none ? [...sorted, none] : sorted;
}

function fillControls() {
  const names = data.columns.map((column, number) => [column.name, number]);
  colour = menu("Colour by", names, () => { list(); fillLegend(); soon(draw); });
  colour.value = Math.min(2, data.columns.length - 1); // the first label, after artist and subset
  for (const column of data.columns.slice(1)) {
    const labels = labelsOf(column);
    const options = labels.map(({ name, count }, number) => [`${name} (${count})`, number]);
    const box = menu(column.name, [["all", ""], ...options], () => { sift(); soon(draw); });
    filters.push({ codes: column.codes, labels, box });
  }
  search.addEventListener("input", () => { sift(); soon(draw, SETTLE); });
  more.addEventListener("click", () => {
    listed += PAGE;
    list();
    found.children[listed - PAGE].firstChild.focus();
  });
  document.addEventListener("keydown", (event) => {
    const item = event.target.closest(".list li");
    if (!item || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
    event.preventDefault();
    const next = event.key === "ArrowDown" ? item.nextElementSibling : item.previousElementSibling;
    next?.firstChild.focus();
  });
}

function fillLegend() {
  const classes = counted(colouring());
  const items = classes.slice(0, LEGEND).map(([name, code, count]) => {
    const item = element("li", "", { title: name });
    item.append(glyph(code), ` ${name} (${count})`);
    return item;
  });
  if (classes.length > LEGEND) {
    const again = classes.length > STYLES ? `; every ${STYLES} look alike` : "";
    items.push(element("li", `and ${classes.length - LEGEND} more${again}`));
  }
  document.getElementById("legend").replaceChildren(...items);
}

function sift() {
  const words = plain(search.value).split(/\s+/).filter(Boolean);
  const wanted = filters.filter(({ box }) => box.value !== "")
    .map(({ codes, labels, box }) => [codes, labels[box.value].codes]);
  shown = [];
  for (let song = 0; song < songs; song++) {
    if (wanted.every(([codes, one]) => one.has(codes[song]))
      && words.every((word) => haystack[song].includes(word))) shown.push(song);
  }
  listed = PAGE;
  list();
}

function list() {
  found.replaceChildren(...shown.slice(0, listed).map((song) => row(song)));
  for (const item of found.querySelectorAll("button")) setCurrent(item);
  const all = `${songs.toLocaleString("en")} songs`;
  document.getElementById("count").textContent =
    shown.length === songs ? all : `${shown.length.toLocaleString("en")} of ${all}`;
  more.hidden = shown.length <= listed;
  more.textContent = `${Math.min(PAGE, shown.length - listed)} more of ${shown.length}`;
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
    "aria-label": `Map of songs by ${map.name}. Arrow keys choose the next song that way.`,
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
      Plotly.relayout(plot, view())),
  );
  frame.append(plot);
  frame.addEventListener("keydown", (event) => step(made, event));
  side.append(head, frame, element("h3", `Nearest by ${map.name}, with their cosines`), near);
  document.getElementById("maps").append(side);
  return made;
});

// The planes come in the unit square.
function view(x = 0.5, y = 0.5, half = 0.54) {
  return { "xaxis.range": [x - half, x + half], "yaxis.range": [y - half, y + half] };
}

function middle({ range: [low, high] }) {
  return [(low + high) / 2, (high - low) / 2];
}

function zoom(map, factor) {
  const { xaxis, yaxis } = map.plot.layout;
  const [[x, width], [y, height]] = [middle(xaxis), middle(yaxis)];
  Plotly.relayout(map.plot, view(x, y, Math.min(width, height) * factor));
}

// The nearest of the songs shown that lie within 45 degrees of an arrow key's direction.
function step(map, event) {
  if (!(event.key in ARROWS)) return;
  event.preventDefault();
  const [right, up] = ARROWS[event.key];
  let [best, least] = [chosen ?? shown[0], Infinity];
  const from = best;
  for (const song of chosen === null ? [] : shown) {
    const [x, y] = [map.x[song] - map.x[from], map.y[song] - map.y[from]];
    const [ahead, aside, far] = [x * right + y * up, Math.abs(x * up - y * right), x * x + y * y];
    if (ahead > 0 && ahead >= aside && far < least) [best, least] = [song, far];
  }
  if (best !== undefined && best !== chosen) choose(best);
}

// One trace for each colour and symbol: Plotly is several times as fast as with arrays of them.
function draw() {
  const { codes } = colouring();
  const groups = new Map();
  const left = new Uint8Array(songs);
  for (const song of shown) {
    left[song] = 1;
    const key = codes[song] < 0 ? -1 : codes[song] % STYLES;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(song);
  }
  const others = data.track_id.map((_, song) => song).filter((song) => !left[song]);
  const size = songs > 5000 ? 5 : songs > 1000 ? 6 : 9;
  for (const map of maps) {
    const trace = (group, marker, more) => ({
      type: webgl ? "scattergl" : "scatter",
      mode: "markers",
      x: group.map((song) => map.x[song]),
      y: group.map((song) => map.y[song]),
      marker,
      ...more,
    });
    map.order = [others, ...groups.values()];
    const traces = [...groups].map(([code, group]) => {
      const { colour, symbol } = style(code);
      const line = { color: ink("ground"), width: 0.5 };
      return trace(group, { color: colour, symbol: symbol[0], size, opacity: 1, line },
        { hoverinfo: "none" });
    });
    const faint = trace(others, { color: ink("faint"), size: size - 1 }, { hoverinfo: "skip" });
    const { xaxis, yaxis } = map.plot.layout ?? { // whose ranges are where the reader has gone
      xaxis: { visible: false, range: view()["xaxis.range"] },
      yaxis: { visible: false, range: view()["yaxis.range"], scaleanchor: "x" },
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
    listen(map);
  }
}

function listen(map) {
  if (map.listening) return;
  map.listening = true;
  const song = ({ points: [{ curveNumber, pointNumber }] }) => map.order[curveNumber][pointNumber];
  map.plot.on("plotly_click", (event) => choose(song(event)));
  map.plot.on("plotly_hover", (event) => {
    tip.textContent = `${named(song(event))} · ${about(song(event))}`;
    tip.hidden = false;
    const { clientX, clientY } = event.event;
    tip.style.left = `${Math.min(clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
  });
  map.plot.on("plotly_unhover", () => { tip.hidden = true; });
}

// The chosen song and the neighbours that each set of features gives it, on both maps. Shapes,
// because to draw them anew leaves the points alone.
function marks(map) {
  if (chosen === null) return [];
  const shape = (song, half, more) => ({
    xref: "x", yref: "y", xsizemode: "pixel", ysizemode: "pixel",
    xanchor: map.x[song], yanchor: map.y[song],
    x0: -half, x1: half, y0: -half, y1: half, ...more,
  });
  const rings = maps.flatMap((by, number) => neighbours(by, chosen).map(([song]) =>
    shape(song, 6 + 2 * number, {
      type: number ? "rect" : "circle", line: { color: ink("ink"), width: 1.5 },
    })));
  const line = { color: ink("accent"), width: 3 };
  const cross = "M -16 0 L -8 0 M 8 0 L 16 0 M 0 -16 L 0 -8 M 0 8 L 0 16";
  return [...rings, shape(chosen, 8, { type: "circle", line }),
    shape(chosen, 0, { type: "path", path: cross, line })];
}

function mark() {
  for (const map of maps) {
    const { xaxis, yaxis } = map.plot.layout;
    const [[x, width], [y, height]] = [middle(xaxis), middle(yaxis)];
    const [toX, toY] = [map.x[chosen], map.y[chosen]];
    const away = Math.abs(toX - x) > width || Math.abs(toY - y) > height;
    Plotly.relayout(map.plot,
      { shapes: marks(map), ...(away ? view(toX, toY, Math.min(width, height)) : {}) });
  }
}

function explain() {
  const marks = maps.map(({ name }, number) => `${number ? "□" : "○"} nearest by ${name}`);
  if (!webgl) marks.push("This browser has no WebGL: many songs are slow to draw.");
  document.getElementById("marks").append(
    ...["⊕ chosen", ...marks].map((text) => element("li", text, { title: text })));
}

// What the keyboard goes to is not to lie below the chosen song, which stays on top.
function keepClear() {
  const panel = document.getElementById("chosen");
  new ResizeObserver(() => {
    document.documentElement.style.scrollPaddingTop = `${panel.offsetHeight + 8}px`;
  }).observe(panel);
}

fillControls();
fillLegend();
keepClear();
prepareAudio();
explain();
list();
draw();
dark.addEventListener("change", () => { list(); fillLegend(); draw(); });
