// The heap as a picture: each extent of 64 KiB is a cell.

import { h, fill, size, count, plural, since } from "./base.js";

const ways = [["use", "By use"], ["fill", "By fill"], ["class", "By size of block"], ["keeper", "By who keeps it"]];

export function heap(page) {
  const canvas = h("canvas", { tabindex: 0, role: "img", "aria-label": "The extents of the heap, a cell each. Arrow keys move from one to the next." });
  const tip = h("div.tip", { role: "status" }), legend = h("div.legend"), numbers = h("div.numbers"), note = h("p.note"), keepers = h("div.scroll");
  const choose = h("div.choose", { role: "radiogroup", "aria-label": "Colours" }, ways.map(([name, title]) =>
    h("button", { role: "radio", "data-way": name, onclick: () => { way = name; draw(); } }, title)));
  const again = h("button", { onclick: () => load() }, "Look again");
  fill(page.main, h("div.head", {}, h("h1", {}, "Heap"), h("span.grow"), choose, again), numbers, h("div.picture", {}, canvas, tip), legend, note, keepers);
  let way = "use", data, cell, columns, ended = false, timer, at = -1;

  const load = async () => {
    again.disabled = true;
    try { data = decode(await page.get("heap", { at: "" })); } finally { again.disabled = false; }
    if (ended) return;
    draw();
    clearTimeout(timer);
    timer = setTimeout(load, Math.max(5000, data.took * 41));
  };

  const draw = () => {
    if (!data) return;
    for (const b of choose.children) b.setAttribute("aria-checked", b.dataset.way === way);
    const width = Math.max(200, canvas.parentElement.clientWidth - 24), scale = devicePixelRatio || 1;
    cell = [22, 18, 15, 12, 10, 8, 6, 5, 4, 3, 2].find((c) => Math.ceil(data.n / Math.floor(width / c)) * c <= 560) ?? 2;
    columns = Math.floor(width / cell);
    const rows = Math.max(1, Math.ceil(data.n / columns));
    canvas.width = columns * cell * scale;
    canvas.height = rows * cell * scale;
    canvas.style.width = columns * cell + "px";
    canvas.style.height = rows * cell + "px";
    const g = canvas.getContext("2d"), gap = cell > 4 ? 1 : 0;
    g.scale(scale, scale);
    const colors = palette(data, way);
    for (let i = 0; i < data.n; i++) {
      const x = (i % columns) * cell, y = Math.floor(i / columns) * cell, w = cell - gap;
      colors.cell(g, i, x, y, w);
    }
    if (at >= 0 && at < data.n) { g.strokeStyle = colors.ink; g.lineWidth = 2; g.strokeRect((at % columns) * cell, Math.floor(at / columns) * cell, cell - gap, cell - gap); }
    fill(legend, colors.legend.map(([color, text]) => h("span", {}, h("i", { css: { background: color } }), text)));
    drawNumbers();
    fill(note, `Version ${count(data.version)}. ${plural(data.n, "extent")} of ${size(data.extent)}, from left to right and from top to bottom; the walk took ${data.took} ms, ${since(data.made)} ago.`);
    drawKeepers();
  };

  const drawNumbers = () => {
    const t = data.totals;
    const part = (n) => `${(100 * n / Math.max(1, data.n * data.extent)).toFixed(1)} % of the heap`;
    fill(numbers,
      number("In use now", size(t.newest), part(t.newest), "newest"), number("Kept by others", size(t.held), data.keepers.length > 1 ? part(t.held) : "nobody keeps an older version", "held"),
      number("Gaps", size(t.gaps), `${part(t.gaps)}: free or waiting blocks between used ones`, "gap"),
      number("Free extents", size(t.free), part(t.free), "free"), number("Given back", size(t.holes), "holes in the file", "hole"),
      number("Ahead", size(Math.max(0, data.end - (data.first + data.n) * data.extent)), "allocated, and never used yet", "ahead"));
  };

  const drawKeepers = () => {
    const others = data.keepers.slice(1);
    if (!others.length) { fill(keepers); return; }
    fill(keepers, h("h2", {}, "Who keeps older versions"), h("table", {}, h("thead", {}, h("tr", {}, ["", "Who", "Version", "Keeps besides those above"].map((t, i) => h("th" + (i > 1 ? ".num" : ""), {}, t)))),
      h("tbody", {}, others.map((k, i) => h("tr", {}, h("td", {}, h("i.swatch", { css: { background: keeperColor(i + 1) } })),
        h("td", { "data-label": "Who" }, describe(k), k.since ? h("small", {}, ` for ${since(k.since)}`) : ""), h("td.num", { "data-label": "Version" }, count(k.version)), h("td.num", { "data-label": "Keeps" }, size(k.bytes)))))));
  };

  const tell = (i, x, y) => {
    at = i;
    if (i < 0 || i >= data.n) { tip.classList.remove("on"); return; }
    fill(tip, words(data, i).map((line, n) => h(n ? "div" : "strong", {}, line)));
    tip.classList.add("on");
    const room = canvas.parentElement.clientWidth - tip.offsetWidth - 4;
    tip.style.left = Math.max(0, Math.min(room, x + 14)) + "px";
    tip.style.top = y + 16 + "px";
  };
  const under = (e) => {
    const r = canvas.getBoundingClientRect(), c = Math.floor((e.clientX - r.left) / cell);
    return c < columns ? Math.floor((e.clientY - r.top) / cell) * columns + c : -1;
  };
  canvas.addEventListener("pointermove", (e) => { if (data) tell(under(e), e.offsetX, e.offsetY); });
  canvas.addEventListener("pointerdown", (e) => { if (data) tell(under(e), e.offsetX, e.offsetY); });
  canvas.addEventListener("pointerleave", () => { if (data) { tell(-1); draw(); } });
  canvas.addEventListener("keydown", (e) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[e.key];
    if (!step || !data) return;
    e.preventDefault();
    const i = Math.max(0, Math.min(data.n - 1, (at < 0 ? -1 : at) + step));
    at = i;
    draw();
    tell(i, (i % columns) * cell, Math.floor(i / columns) * cell);
  });
  const resize = new ResizeObserver(() => draw());
  resize.observe(page.main);
  load();
  return { changed() {}, theme: draw, end() { ended = true; clearTimeout(timer); resize.disconnect(); } };
}

const number = (title, n, what, kind) => h("div.stat." + kind, {}, h("span", {}, title), h("strong", {}, n), h("small", {}, what));

// decode makes arrays of the answer, and adds up.
function decode(a) {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const d = { ...a, class: bytes(a.class), newest: bytes(a.newest), held: bytes(a.held), holder: bytes(a.holder) };
  d.n = d.class.length;
  const t = d.totals = { newest: 0, held: 0, gaps: 0, free: 0, holes: 0 };
  t.newest = a.keepers[0].bytes;
  t.held = a.keepers.slice(1).reduce((n, k) => n + k.bytes, 0);
  let used = 0;
  for (let i = 0; i < d.n; i++) {
    if (kind(d, i) === "free") t.free += d.extent;
    else if (kind(d, i) === "hole") t.holes += d.extent;
    else used += d.extent;
  }
  t.gaps = Math.max(0, used - t.newest - t.held);
  return d;
}

// kind says what an extent is: free, hole, run or blocks.
function kind(d, i) {
  const c = d.class[i];
  return c === d.classes.free ? "free" : c === d.classes.hole ? "hole" : c === d.classes.run || c === d.classes.rest ? "run" : "blocks";
}

function describe(k) { return k.kind === "reader" ? `the reader ${k.name} ${k.pid}` : k.kind === "checkpoint" ? `the checkpoint ${k.name}` : "the newest version"; }

// words say what an extent is.
function words(d, i) {
  const what = kind(d, i), of = (n) => size(Math.round(n / 255 * d.extent)), lines = [];
  const place = `Extent ${count(d.first + i)}, at ${size((d.first + i) * d.extent)} of the file`;
  if (what === "free") return [place, "Free: blocks of any size can go here."];
  if (what === "hole") return [place, "Given back to the file system: it takes no room on the disk."];
  lines.push(place, what === "run" ? "Part of a value of more than one extent" : `Blocks of ${size(d.sizes[d.class[i]])}`);
  lines.push(`${of(d.newest[i])} in use by the newest version`);
  if (d.held[i]) lines.push(`${of(d.held[i])} kept by ${describe(d.keepers[d.holder[i]] ?? d.keepers.at(-1))}`);
  const rest = 255 - d.newest[i] - d.held[i];
  if (rest > 2) lines.push(`${of(rest)} free, set aside by a process, or waiting for a sweep`);
  return lines;
}

function keeperColor(i) { return `hsl(${(i * 67 + 20) % 360} 65% 52%)`; }

// palette returns how cells are drawn: what the colours mean, and the colours of the page.
function palette(d, way) {
  const css = getComputedStyle(document.documentElement), c = (name) => css.getPropertyValue("--heap-" + name).trim();
  const of = { newest: c("newest"), held: c("held"), gap: c("gap"), free: c("free"), hole: c("hole") };
  const ink = css.getPropertyValue("--ink").trim();
  const plain = (g, x, y, w, color) => { g.fillStyle = color; g.fillRect(x, y, w, w); };
  const empty = (g, i, x, y, w) => {
    const what = kind(d, i);
    if (what === "free") plain(g, x, y, w, of.free);
    else if (what === "hole") { plain(g, x, y, w, of.hole); }
    else return false;
    return true;
  };
  const rest = [[of.free, "free extent"], [of.hole, "given back (a hole in the file)"]];
  if (way === "fill") {
    const shade = (n) => `color-mix(in oklab, ${of.newest} ${Math.round(n * 100)}%, ${of.gap})`;
    const shades = Array.from({ length: 33 }, (_, n) => shade(n / 32));
    return { ink, legend: [[shades[32], "full"], [shades[16], "half"], [shades[2], "nearly empty"], ...rest],
      cell: (g, i, x, y, w) => empty(g, i, x, y, w) || plain(g, x, y, w, shades[Math.round(Math.min(255, d.newest[i] + d.held[i]) / 255 * 32)]) };
  }
  if (way === "class") {
    const sizes = [...new Set(Array.from(d.class))].filter((x) => d.sizes[x] > 0).sort((a, b) => d.sizes[a] - d.sizes[b]);
    const color = (x) => `hsl(${200 + 300 * Math.log2(d.sizes[x] / 16) / 12} 60% 50%)`;
    const colors = new Map(sizes.map((x) => [x, color(x)]));
    const some = sizes.length > 12 ? sizes.filter((_, i) => i % Math.ceil(sizes.length / 12) === 0) : sizes;
    return { ink, legend: [...some.map((x) => [colors.get(x), size(d.sizes[x])]), [of.held, "larger than an extent"], ...rest],
      cell: (g, i, x, y, w) => empty(g, i, x, y, w) || plain(g, x, y, w, colors.get(d.class[i]) ?? of.held) };
  }
  if (way === "keeper") {
    return { ink, legend: [[of.newest, "the newest version alone"], ...d.keepers.slice(1, 12).map((k, i) => [keeperColor(i + 1), describe(k)]), [of.gap, "nothing in it is kept"], ...rest],
      cell: (g, i, x, y, w) => empty(g, i, x, y, w) || plain(g, x, y, w, d.holder[i] ? keeperColor(d.holder[i]) : d.newest[i] ? of.newest : of.gap) };
  }
  return { ink, legend: [[of.newest, "in use by the newest version"], [of.held, "kept by older versions"], [of.gap, "gaps"], ...rest],
    cell: (g, i, x, y, w) => {
      if (empty(g, i, x, y, w)) return;
      plain(g, x, y, w, of.gap);
      const a = Math.min(w, d.newest[i] / 255 * w), b = Math.min(w - a, d.held[i] / 255 * w);
      g.fillStyle = of.newest; g.fillRect(x, y + w - a, w, a);
      g.fillStyle = of.held; g.fillRect(x, y + w - a - b, w, b);
    } };
}
