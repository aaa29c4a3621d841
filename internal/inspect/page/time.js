// What the space was: its checkpoints on a line, and what has changed since.

import { h, fill, post, go, address, size, count, plural, since, when, ask, toast, later } from "./base.js";
import { parse, compact, handle, plain } from "./json.js";

export function time(page) {
  const line = h("div.line"), table = h("div.scroll"), make = h("div.make"), changes = h("section.changes");
  fill(page.main, h("h1", {}, "Time"), h("p.note", {}, "A checkpoint keeps a version, with a name, for as long as it is wanted. Looking at one and comparing with one disturbs nobody."), line, make, table, changes);
  let data, ended = false, drawn = 0, slow = false, seen = "";

  const load = async () => {
    data = await page.get("checkpoints", { at: "" });
    drawn = Date.now();
    if (!ended) draw();
  };

  const draw = () => {
    drawLine(line, data, page);
    const input = h("input", { placeholder: "Name of the checkpoint", "aria-label": "Name of the checkpoint", maxlength: 96, autocomplete: "off" });
    const wrong = h("span.wrong", { role: "alert" });
    fill(make, page.info.write ? h("form", {
      onsubmit: async (e) => {
        e.preventDefault();
        wrong.textContent = "";
        try { await post("checkpoint", { space: page.place.space, name: input.value }); } catch (x) { wrong.textContent = x.message; input.focus(); return; }
        toast(`The checkpoint ${input.value} is made.`);
        load();
      },
    }, input, h("button.main", {}, "Make a checkpoint of now"), wrong) : h("p.note", {}, "Checkpoints are made, dropped and restored by a page that was started with --write."));
    const rows = [...data.list].reverse().map((c) => h("tr" + (c.name === page.place.at ? ".here" : ""), {},
      h("td", { "data-label": "Checkpoint" }, h("strong", {}, c.name)), h("td.num", { "data-label": "Version" }, count(c.version)),
      h("td", { "data-label": "Of" }, when(c.committed)), h("td.num", { "data-label": "Only it keeps" }, c.exclusive === null ? "…" : size(c.exclusive)),
      h("td.buttons", {},
        c.name === page.place.at ? h("a.button", { href: address({ view: "time", space: page.place.space }) }, "Back to now") : h("a.button", { href: address({ view: "collections", space: page.place.space, at: c.name }) }, "Look at it"),
        h("button", { onclick: () => go({ ...page.place, with: c.name, id: undefined }) }, "Compare with now"),
        page.info.write && h("button", { onclick: () => restore(c) }, "Go back to it…"),
        page.info.write && h("button.danger", { onclick: () => drop(c) }, "Drop…"))));
    fill(table, rows.length ? h("table", {}, h("thead", {}, h("tr", {}, ["Checkpoint", "Version", "Of", "Only it keeps", ""].map((t, i) => h("th" + ([1, 3].includes(i) ? ".num" : ""), {}, t)))), h("tbody", {}, rows))
      : h("p.empty", {}, "There is no checkpoint yet."));
  };

  const restore = async (c) => {
    const answer = await compare(page, c.name);
    const total = answer.list.reduce((n, x) => n + x.added + x.changed + x.removed, 0), whole = answer.list.filter((x) => !["same", "changed"].includes(x.state)).length;
    const lost = total || whole ? `Against now, ${plural(total, "entry differs", "entries differ")}${whole ? `, and ${plural(whole, "collection")} that only one of them has, or with other types` : ""}.` : "As far as can be seen, nothing differs from now.";
    if (!await ask(`Go back to ${c.name}?`, [`The space becomes what it was at version ${count(c.version)}, of ${when(c.committed)}, for all programs at once. ${lost}`,
      "Make a checkpoint of now first if you may want to return."], "Go back", true)) return;
    await post("restore", { space: page.place.space, name: c.name });
    toast(`The space is what it was at ${c.name}.`);
    load();
  };

  const drop = async (c) => {
    if (!await ask(`Drop the checkpoint ${c.name}?`, `Its version cannot be looked at or gone back to any more. ${c.exclusive === null ? "What only it keeps" : size(c.exclusive)} becomes free.`, "Drop", true)) return;
    await post("drop", { space: page.place.space, name: c.name });
    toast(`The checkpoint ${c.name} is dropped.`);
    if (page.place.at === c.name || page.place.with === c.name) go({ view: "time", space: page.place.space });
    load();
  };

  // differences shows what differs from the checkpoint of the address.
  const differences = async () => {
    const { with: name, id } = page.place;
    if (!name) { fill(changes); return; }
    if (!changes.firstChild) fill(changes, h("p.note", {}, "Comparing…"));
    let all, one;
    const began = performance.now();
    try {
      all = await compare(page, name);
      one = id && (await compare(page, name, id)).list[0];
    } catch (e) { fill(changes, h("p.empty.bad", {}, e.message)); return; }
    slow = performance.now() - began > 300;
    if (ended || page.place.with !== name || page.place.id !== id) return;
    drawChanges(changes, page, name, all, one);
    if (seen !== name + id) changes.scrollIntoView({ block: "nearest" });
    seen = name + id;
  };

  const resize = new ResizeObserver(() => { if (data && !ended) drawLine(line, data, page); });
  resize.observe(page.main);
  const again = later(1500, () => { if (!ended) { load(); if (!slow) differences(); } });
  load();
  differences();
  return { version() { if (Date.now() - drawn > 5000) again(); }, changed() { draw(); differences(); }, end() { ended = true; resize.disconnect(); } };
}

const compare = (page, at, id) => page.get("changes", { at, id });

// drawLine draws the checkpoints and now, by their versions' times. A name that finds no room in three
// rows is left out: pointing at its checkpoint tells it.
function drawLine(box, data, page) {
  const points = [...data.list.map((c) => ({ t: c.committed, name: c.name, version: c.version })), { t: data.committed, name: "now", version: data.version, now: true }];
  const lo = Math.min(...points.map((p) => p.t)), hi = Math.max(...points.map((p) => p.t)), width = Math.max(200, box.clientWidth - 50);
  for (const p of points) p.x = hi === lo ? 0.5 : (p.t - lo) / (hi - lo);
  points.sort((a, b) => a.x - b.x || a.version - b.version);
  const gap = Math.min(15, (width - 14) / points.length); // those that are too near stand beside each other
  let last = -gap;
  for (const p of points) last = p.x = Math.max(7 + p.x * (width - 14), last + gap);
  let next = width + gap;
  for (const p of points.toReversed()) next = p.x = Math.min(p.x, next - gap, width - 7);
  const ends = [-1e9, -1e9, -1e9];
  for (const p of points.filter((p) => p.now).concat(points.filter((p) => !p.now))) {
    const half = Math.min(130, p.name.length * 7 + 8) / 2;
    p.shift = Math.max(half - 10, Math.min(width + 10 - half, p.x)) - p.x; // not out of the box
    p.from = p.x + p.shift - half;
    p.to = p.from + 2 * half;
  }
  const now = points.find((p) => p.now);
  for (const p of points) {
    p.level = p.now ? 0 : ends.findIndex((end, n) => p.from > end && (n > 0 || p.to < now.from || p.from > now.to));
    if (p.level >= 0) ends[p.level] = p.to;
  }
  fill(box, h("div.axis", {}, points.map((p) => h((p.now ? "span" : "a") + ".point" + (p.now ? ".now" : "") + (p.name === page.place.at && !p.now ? ".here" : ""), {
    href: p.now ? undefined : address({ view: "collections", space: page.place.space, at: p.name }), "aria-label": p.name,
    title: `${p.name}: version ${count(p.version)}, ${when(p.t)}`, css: { left: `${p.x}px`, "--level": Math.max(0, p.level), "--shift": `${p.shift}px` },
  }, h("span.label" + (p.level < 0 ? ".off" : ""), {}, p.name)))),
  h("div.ends", {}, h("span", {}, points.length > 1 ? when(lo) : ""), h("span", {}, `version ${count(data.version)}, committed ${since(data.committed)} ago`)));
}

const states = { same: "no difference", added: "new: the checkpoint does not have it", removed: "gone: only the checkpoint has it", other: "has other types now" };

// drawChanges draws what differs: by collection, and by key for one of them.
function drawChanges(box, page, name, all, one) {
  const number = (sign, n, kind) => h("td.num." + kind, {}, n > 0 && `${sign}${count(n)}`);
  fill(box, h("div.head", {}, h("h2", {}, "From ", h("strong", {}, name), " to now"), h("small", {}, `version ${count(all.was)} to ${count(all.version)}`), h("span.grow"),
    h("a.button", { href: address({ ...page.place, with: undefined, id: undefined }) }, "Close")),
  h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "Collection"), ["Was", "Is", "Added", "Changed", "Removed"].map((t) => h("th.num", {}, t)), h("th"))),
    h("tbody", {}, all.list.map((c) => h("tr" + (c.id === page.place.id ? ".here" : ""), {}, h("td", { "data-label": "Collection" }, c.name), h("td.num", { "data-label": "Was" }, c.state === "added" ? "–" : count(c.was)), h("td.num", { "data-label": "Is" }, c.state === "removed" ? "–" : count(c.now)),
      number("+", c.added, "plus"), number("~", c.changed, "tilde"), number("−", c.removed, "minus"),
      h("td", {}, c.state === "changed" ? h("a", { href: address({ ...page.place, id: c.id }) }, "Which?") : h("span.none", {}, states[c.state]), c.stopped && " and more"))))));
  if (!one) return;
  const list = one.list ?? [];
  box.append(h("div.keys", {}, h("h3", {}, one.name), list.map((c) => {
    const kind = c.was === undefined ? "plus" : c.now === undefined ? "minus" : "tilde";
    const key = c.key === undefined ? "the value" : plain(c.key);
    return h("div.change." + kind, {}, h("span.sign", { "aria-label": { plus: "added", minus: "removed", tilde: "changed" }[kind] }, { plus: "+", minus: "−", tilde: "~" }[kind]),
      c.key !== undefined || one.kind === "ref" ? h("a.key", { href: address({ view: "collections", space: page.place.space, id: one.id, key: c.key, open: c.key === undefined ? 1 : undefined, at: kind === "minus" ? name : undefined }) }, key) : h("span.key", {}, key),
      h("div.texts", {}, texts(c)));
  }), one.added + one.changed + one.removed > list.length && h("p.note", {}, `These are the first ${count(list.length)}.`)));
}

// texts draws what a value was and is: of one that changed, the parts that differ.
function texts(c) {
  const parts = c.was !== undefined && c.now !== undefined && differing(c.was, c.now);
  if (!parts) return [c.was !== undefined && h("del", {}, cut(c.was)), c.now !== undefined && h("ins", {}, cut(c.now))];
  return h("div.parts", {}, parts.map(([path, was, now]) => h("div", {}, h("span.name", {}, path && `${path}:`), was !== undefined && h("del", {}, cut(was)), now !== undefined && h("ins", {}, cut(now)))));
}

const cut = (text) => text.length > 400 ? text.slice(0, 400) + "…" : text;

// differing lists the paths at which two values differ; undefined if they cannot be compared.
function differing(was, now) {
  const found = [];
  const compare = (path, a, b) => {
    if (found.length > 20 || a && b && compact(a) === compact(b)) return;
    const parts = (n) => n.kind === "object" ? n.members.map(([k, v]) => [path ? `${path}.${k}` : k, v]) : n.items.map((v, i) => [`${path}[${i}]`, v]);
    if (a && b && a.kind === b.kind && (a.kind === "object" || a.kind === "array") && !handle(a)) {
      const old = new Map(parts(a)), fresh = new Map(parts(b));
      for (const k of new Set([...old.keys(), ...fresh.keys()])) compare(k, old.get(k), fresh.get(k));
    } else found.push([path, a && compact(a), b && compact(b)]);
  };
  try { compare("", parse(was), parse(now)); } catch { return undefined; }
  return found.length > 20 ? undefined : found;
}
