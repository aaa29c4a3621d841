// What happens: charts of the last minutes, the processes, and the locks.

import { h, fill, size, short, count, since, plural } from "./base.js";
import uPlot from "./vendor/uPlot.esm.js";

// Between lines of the axes: whole numbers, and powers of two.
const whole = Array.from({ length: 12 }, (_, n) => [1, 2, 5].map((x) => x * 10 ** n)).flat(), powers = Array.from({ length: 50 }, (_, n) => 2 ** n);

// Each chart: what it shows of two samples that follow each other, and how it is written.
const charts = [
  { title: "Commits", unit: "per second", text: short, lines: [{ of: (s, p) => p && rate(s.version - p.version, s, p) }] },
  { title: "Journal written", unit: "bytes per second", text: size, steps: powers, hint: "In steps of 2 MiB, over ten seconds", lines: [{ of: (s, p, i, all) => journal(all, i) }] },
  { title: "Not yet durable", unit: "versions behind", text: short, steps: whole, lines: [{ of: (s) => s.version - Math.min(s.version, s.durable) }] },
  { title: "Versions held", unit: "by other processes", text: count, steps: whole, lines: [{ of: (s) => s.readers }] },
  { title: "Size", unit: "", text: size, steps: powers, wide: true, lines: [{ name: "on disk", of: (s) => s.disk }, { name: "used", of: (s) => s.used }, { name: "reached by the newest version", of: (s) => s.live }] },
];

const rate = (n, s, p) => Math.max(0, n) / Math.max(0.2, (s.t - p.t) / 1000);

// journal is how much of the journal has come into use in the last ten seconds, per second.
function journal(all, i) {
  let n = 0, j = i;
  for (; j > 0 && all[i].t - all[j].t < 10_000; j--) n += Math.max(0, all[j].journal - all[j - 1].journal);
  return j === i ? null : n / ((all[i].t - all[j].t) / 1000);
}

export function now(page) {
  const grid = h("div.charts");
  const numbers = h("div.numbers");
  const processes = h("div.scroll"), locks = h("div.scroll");
  fill(page.main, h("h1", {}, "Now"), numbers, grid, h("h2", {}, "Processes"), processes, h("h2", {}, "Locks"), locks);
  const drawn = charts.map((c) => new Chart(c, grid, page));
  const resize = new ResizeObserver(() => drawn.forEach((c) => c.resize()));
  resize.observe(grid);
  drawn.forEach((c) => c.update(page.past));
  return {
    now(n) {
      drawn.forEach((c) => c.update(page.past));
      drawNumbers(numbers, n.sample);
      drawProcesses(processes, n);
      drawLocks(locks, n);
    },
    changed() {},
    theme() { drawn.forEach((c) => { c.make(); c.update(page.past); }); },
    end() { resize.disconnect(); drawn.forEach((c) => c.plot?.destroy()); },
  };
}

function drawNumbers(box, s) {
  const behind = Math.max(0, s.version - s.durable);
  fill(box,
    one("Version", count(s.version), `committed ${since(s.committed, s.t)} ago`),
    one("Safe from power loss", behind === 0 ? "all" : `all but ${short(behind)}`, `to version ${count(Math.max(s.durable, s.anchored))}`),
    one("Holds", size(s.live), `${plural(s.objects, "object")}`),
    one("On disk", size(s.disk), `of at most ${size(s.maxSize)}`),
    (s.failed || s.error) && h("div.stat.bad", {}, h("span", {}, "Failed"), h("strong", {}, s.failed ? "Nothing can be written" : "Background work"), h("small", {}, s.error ?? "A sync to disk failed: all programs have to close the space.")));
}

const one = (title, number, what) => h("div.stat", {}, h("span", {}, title), h("strong", {}, number), h("small", {}, what));

class Chart {
  constructor(of, grid, page) {
    Object.assign(this, { of, page });
    this.number = h("strong");
    this.box = h("div.plot");
    grid.append(h("figure.chart" + (of.wide ? ".wide" : ""), { title: of.hint }, h("figcaption", {}, h("span", {}, of.title), this.number, h("small", {}, of.unit)), this.box));
    this.make();
  }

  // make makes the chart, in the colours of the page.
  make() {
    this.plot?.destroy();
    const css = getComputedStyle(document.documentElement), color = (name) => css.getPropertyValue(name).trim();
    const colors = ["--line-1", "--line-2", "--line-3"].map(color);
    const axis = { stroke: color("--dim"), grid: { stroke: color("--edge"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    this.plot = new uPlot({
      width: Math.max(100, this.box.clientWidth), height: this.of.wide ? 170 : 120,
      cursor: { y: false, points: { size: 6 } },
      legend: { show: this.of.lines.length > 1, live: false },
      scales: { x: { time: true, range: (u, lo, hi) => [Math.min(lo ?? 0, (hi ?? 0) - 60), hi ?? 1] }, y: { range: (u, lo, hi) => [0, Math.max(1, (hi ?? 1) * 1.1)] } },
      axes: [{ ...axis, size: 22, space: 90 }, { ...axis, size: 62, space: 34, incrs: this.of.steps, values: (u, v) => v.map((x) => this.of.text(x)) }],
      series: [{}, ...this.of.lines.map((l, i) => ({ label: l.name, stroke: colors[i], width: 2, fill: this.of.lines.length === 1 ? colors[0] + "22" : undefined, points: { show: false }, spanGaps: false }))],
    }, [[], ...this.of.lines.map(() => [])], this.box);
  }

  update(past) {
    const x = past.map((s) => s.t / 1000);
    const data = this.of.lines.map((l) => past.map((s, i) => l.of(s, past[i - 1], i, past) ?? null));
    this.plot.setData([x, ...data]);
    const last = data[0].at(-1);
    this.number.textContent = last === null || last === undefined ? "–" : this.of.text(last);
  }

  resize() {
    const width = this.box.clientWidth;
    if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: this.plot.height });
  }
}

const pid = (p) => p.foreign ? `${p.pid}*` : String(p.pid);

function drawProcesses(box, n) {
  const others = n.processes.filter((p) => !p.self);
  if (!others.length) { fill(box, h("p.empty", {}, "No other process has the space open.")); return; }
  const table = [];
  for (const p of others) {
    const state = [p.stopped && "stopped", p.writing && "writing"].filter(Boolean);
    const holds = (p.holds ?? []).map((v) => h("div.hold", {}, `version ${count(v.version)}`,
      h("small", {}, ` for ${since(v.since, n.sample.t)}`, n.sample.version > v.version ? `, ${plural(n.sample.version - v.version, "version")} behind` : "",
        v.known && v.pins ? ", " : "", v.known && v.pins ? h("b", {}, `pins ${size(v.pins)}`) : "")));
    table.push(h("tr", {}, h("td.num", { "data-label": "PID" }, pid(p)), h("td", { "data-label": "Command" }, p.command), h("td", { "data-label": "Open for" }, since(p.since, n.sample.t)),
      h("td.num", { "data-label": "Commits" }, count(p.commits)), h("td.num", { "data-label": "Set aside" }, size(p.reserved)),
      h("td", { "data-label": "State" }, state.length ? state.map((s) => h("span.tag." + s, {}, s)) : "–"), h("td", { "data-label": "Holds" }, holds.length ? holds : "nothing")));
  }
  fill(box, h("table", {}, h("thead", {}, h("tr", {}, ["PID", "Command", "Open for", "Commits", "Set aside", "State", "Holds"].map((t, i) => h("th" + ([0, 3, 4].includes(i) ? ".num" : ""), {}, t)))),
    h("tbody", {}, table)), others.some((p) => p.foreign) && h("p.note", {}, "* in another PID namespace, which has numbers of its own"));
}

function drawLocks(box, n) {
  if (!n.locks.length) { fill(box, h("p.empty", {}, "No named lock is in use.")); return; }
  fill(box, h("table", {}, h("thead", {}, h("tr", {}, ["Name", "Kind", "Held by", "Waiting"].map((t) => h("th", {}, t)))),
    h("tbody", {}, n.locks.map((l) => h("tr", {}, h("td", { "data-label": "Name" }, l.name || "\u201c\u201d"), h("td", { "data-label": "Kind" }, l.kind === "mutex" ? "mutex" : `semaphore of ${l.units}`),
      h("td", { "data-label": "Held by" }, l.holders.length ? l.holders.map((k) => h("div", {}, k.pid ? `${k.command} ${pid(k)}` : "a process that died", l.kind === "mutex" ? "" : ` (${k.units})`,
        h("small", {}, ` for ${since(k.since, n.sample.t)}`), k.dead && h("span.tag.stopped", {}, "died"), k.stopped && h("span.tag.stopped", {}, "stopped"))) : "on its way to one who waits"),
      h("td", { "data-label": "Waiting" }, l.waiters ? plural(l.waiters, "process", "processes") : "nobody"))))));
}
