// What takes a while: verify, collect, compact, back up.

import { h, fill, post, size, count, plural, since, toast } from "./base.js";

const kinds = [
  { kind: "check", title: "Check", verb: "Check the space", text: "Verifies every block, link, key and value that the newest version and the checkpoints reach, the lists of free space, and what a recovery would need. Others go on.", result: checked },
  { kind: "backup", title: "Backup", verb: "Make a backup", text: "Writes the newest version to a file outside the space, then you download it: everheap restore makes a space of it.", result: backedUp },
  { kind: "collect", title: "Collect", verb: "Collect now", text: "Drops the objects that no name reaches. Programs do that in the background; this does it now.", writes: true, result: collected },
  { kind: "compact", title: "Compact", verb: "Compact now", text: "Moves blocks together and gives unused space back to the file system, while programs go on.", writes: true, result: compacted },
];

export function work(page) {
  const cards = kinds.map((k) => {
    const state = h("div.state", { "aria-live": "polite" });
    const button = h("button.main", { disabled: k.writes && !page.info.write, onclick: () => start(k, button) }, k.verb);
    return { ...k, state, button, box: h("section.card", {}, h("h2", {}, k.title), h("p", {}, k.text), h("div.buttons", {}, button, k.writes && !page.info.write && h("small", {}, "needs --write")), state) };
  });
  fill(page.main, h("h1", {}, "Work"), h("div.cards", {}, cards.map((c) => c.box)));
  const start = async (k, button) => {
    button.disabled = true;
    try { await post("start", { space: page.place.space, kind: k.kind }); } catch (e) { toast(e.message, true); button.disabled = false; }
  };
  const draw = (n) => {
    for (const c of cards) {
      const t = n.work.find((x) => x.kind === c.kind);
      if (!t) continue;
      const text = JSON.stringify(t);
      if (c.drawn === text) continue;
      c.drawn = text;
      c.button.disabled = t.running || c.writes && !page.info.write;
      if (t.running) {
        fill(c.state, h("progress", { max: 1, value: t.progress >= 0 ? t.progress : undefined, "aria-label": c.title }),
          h("p.note", {}, t.progress >= 0 ? `${Math.floor(t.progress * 100)} %, ` : "", `${(t.took / 1000).toFixed(1)} s`));
      } else if (!t.ok) fill(c.state, h("p.result.bad", {}, t.error));
      else fill(c.state, c.result(t, page));
    }
  };
  return { now: draw, changed() {} };
}

const took = (t) => h("small", {}, `It took ${t.took < 1000 ? `${t.took} ms` : since(Date.now() - t.took)}, and ended at ${new Date(t.started + t.took).toLocaleTimeString()}.`);

function checked(t) {
  const r = t.result, found = r.Findings ?? [];
  return [
    h("p.result" + (found.length ? ".bad" : ".good"), {}, found.length ? `Damaged: ${plural(found.length, "finding")}` : "Nothing is wrong."),
    h("p", {}, `Version ${count(r.Version)}: ${plural(r.Objects, "object")}, ${plural(r.Entries, "entry", "entries")}, ${size(r.Bytes)} in ${plural(r.Blocks, "block")}; ${size(r.Free)} listed as free.`),
    found.length > 0 && h("ul.findings", {}, found.slice(0, 50).map((f) => h("li", {}, f.What, h("small", {}, ` ${f.File}${f.Offset ? `, offset ${count(f.Offset)}` : ""}`)))),
    took(t),
  ];
}

function backedUp(t, page) {
  return [
    h("p.result.good", {}, `The backup has ${size(t.result.Bytes)}.`),
    h("p", {}, h("a.button", { href: "/api/backup?" + new URLSearchParams({ space: page.place.space, from: t.id }), download: "" }, "Download")),
    took(t),
  ];
}

function collected(t) {
  const r = t.result;
  return [
    h("p.result.good", {}, r.Dropped ? `${plural(r.Dropped, "object")} dropped, ${size(r.Bytes)}.` : "Every object is reached by a name."),
    h("p", {}, `Of ${plural(r.Objects, "object")}${r.Rescued ? `; ${plural(r.Rescued, "one", "ones")} kept that others linked meanwhile` : ""}.`), took(t),
  ];
}

function compacted(t) {
  const r = t.result, saved = r.Before - r.After;
  return [
    h("p.result.good", {}, saved > 0 ? `${size(saved)} given back.` : "There was nothing to give back."),
    h("p", {}, `The files took ${size(r.Before)} on disk, and take ${size(r.After)} now.`), took(t),
  ];
}
