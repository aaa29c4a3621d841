// What the space holds: its collections, the entries of one, the value of one of those.

import { h, fill, post, go, replace, address, size, count, short, plural, ask, later, often, toast } from "./base.js";
import { parse, plain } from "./json.js";
import { List } from "./list.js";
import { tree, preview } from "./tree.js";
import { edit } from "./edit.js";

const block = 100; // rows that are asked for at a time

export function collections(page) {
  const names = h("section.names", { "aria-label": "Collections" });
  const entries = h("section.entries", { "aria-label": "Entries" });
  const value = h("section.value", { "aria-label": "Value" });
  fill(page.main, names, entries, value);
  const list = new Names(page, names);
  const rows = new Rows(page, entries, list);
  const one = new Value(page, value, rows);
  const pane = () => {
    const p = page.place;
    page.main.dataset.pane = p.id && (p.key !== undefined || p.open) ? "value" : p.id ? "entries" : "names";
  };
  const start = async () => { pane(); await list.load(); rows.show(); one.show(); };
  start();
  const looked = often(700, () => { rows.refresh(); one.refresh(); }), counted = often(2100, () => list.load());
  const changed = () => { looked(); counted(); };
  return {
    version: changed,
    changed(before) {
      pane();
      list.mark();
      const p = page.place;
      if (before.id !== p.id) list.load();
      if (before.id !== p.id || before.filter !== p.filter) rows.show();
      if (before.id !== p.id || before.key !== p.key || before.open !== p.open) { rows.mark(); one.show(); }
    },
    end() { rows.end(); },
  };
}

const kinds = { map: "map", sorted: "sorted map", list: "list", ref: "single value" };

// Names is the list of the collections.
class Names {
  constructor(page, box) {
    this.page = page;
    this.list = [];
    this.links = h("div.links");
    fill(box, h("h2", {}, "Collections"), this.links);
  }

  load() { return this.loaded = this.read(); }

  async read() {
    const answer = await this.page.get("collections");
    this.list = answer.list;
    fill(this.links, this.list.map((c) => h("a", { href: address(this.page.to({ view: "collections", id: c.id })), "data-id": c.id },
      h("span.kind", { title: kinds[c.kind] }, { map: "{ }", sorted: "a↓z", list: "[ ]", ref: "•" }[c.kind]),
      h("span.title", {}, c.name), h("span.count", {}, c.kind === "ref" ? "" : short(c.len)))),
    !this.list.length && h("p.empty", {}, "Nothing has a name in this space yet."));
    this.mark();
  }

  mark() {
    for (const a of this.links.querySelectorAll("a")) a.classList.toggle("here", a.dataset.id === this.page.place.id);
  }

  find(id) { return this.list.find((c) => c.id === id); }
}

// Rows are the entries of a collection.
class Rows {
  constructor(page, box, names) {
    Object.assign(this, { page, box, names, blocks: new Map(), asked: new Set(), id: undefined });
    this.list = new List({
      height: 34, label: "Entries", draw: (i) => this.draw(i), seen: (from, to) => this.seen(from, to), open: (i) => this.open(i),
    });
    this.head = h("div.head");
    this.note = h("p.note");
    this.ask = later(25, () => this.load());
    this.again = later(1500, () => this.refresh());
  }

  end() { this.list.end(); this.aborted?.abort(); clearTimeout(this.timer); this.ended = true; }

  // show shows the collection of the address.
  async show() {
    const { id, filter } = this.page.place;
    if (!id) { this.id = undefined; fill(this.box, h("p.empty", {}, "Choose a collection to see its entries.")); return; }
    const first = this.id !== id;
    this.id = id;
    this.filter = filter ?? "";
    this.aborted?.abort();
    this.aborted = new AbortController();
    this.blocks.clear();
    this.asked.clear();
    if (first) {
      this.list.selected = -1;
      this.list.top = 0;
      this.list.setTotal(0);
      this.total = undefined;
      this.drawHead();
      fill(this.box, this.head, this.note, this.list.box);
    }
    if (this.search && this.kind !== "list" && document.activeElement !== this.search) this.search.value = this.filter;
    this.list.box.scrollTop = this.list.last = this.list.top = 0;
    this.range = [0, block];
    await this.load();
  }

  // drawHead draws the name of the collection, and what can be done with it.
  async drawHead() {
    const id = this.id;
    await this.names.loaded;
    let c = this.names.find(id);
    if (!c) {
      try { c = (await this.page.get("collections", { id })).list[0]; } catch (e) {
        if (this.id === id) fill(this.box, h("p.empty.bad", {}, e.message));
        return;
      }
    }
    if (this.id !== id) return;
    this.kind = c.kind;
    const type = { list: `[]${c.value}`, ref: `*${c.value}` }[c.kind] ?? `${c.kind}[${c.key}]${c.value}`;
    const search = this.search = this.kind === "list"
      ? h("input", { type: "search", placeholder: "Go to an index", inputmode: "numeric", "aria-label": "Go to an index", onkeydown: (e) => { if (e.key === "Enter") this.jump(e.target.value); } })
      : this.kind === "ref" ? null
        : h("input", { type: "search", placeholder: "Find keys ( / )", "aria-label": "Find keys", value: this.filter, oninput: (e) => this.find(e.target.value), onkeydown: (e) => this.searchKey(e) });
    fill(this.head,
      h("a.back", { href: address(this.page.to({ view: "collections" })), "aria-label": "All collections" }, "‹"),
      h("div.what", {}, h("h2", {}, c.name || "Without a name"), h("code.type", { title: type }, type)),
      this.page.info.write && !this.page.place.at && c.kind !== "ref" && h("button.add", { onclick: () => this.add() }, "+ Add"),
      c.name && h("a.button", { href: address(this.page.to({ view: "types", id })), title: "The types as Go source" }, "Types"),
      search && h("div.search", {}, search));
    this.extra = [c.expiry && `Entries expire ${c.expiry}.`, ...(c.indexes ?? []).map((x) => `${x.unique ? "Unique index" : "Index"} ${x.name} on ${x.path}.`)].filter(Boolean).join(" ");
  }

  find = later(80, (text) => {
    this.page.place.filter = text || undefined;
    replace(this.page.place);
    this.show();
  });

  searchKey(e) {
    if (e.key === "ArrowDown" || e.key === "Enter") {
      e.preventDefault();
      if (e.key === "Enter" && this.list.total > 0) this.open(0);
      this.list.box.focus();
      if (this.list.selected < 0) this.list.select(0);
    }
    if (e.key === "Escape") e.target.blur();
  }

  jump(text) {
    const i = Math.min(Number(text), this.list.total - 1);
    if (!(i >= 0)) return;
    this.list.selected = i;
    this.list.show(i);
    this.list.box.focus();
  }

  // seen is told which rows are looked at.
  seen(from, to) {
    this.range = [from, to];
    for (let b = Math.floor(from / block); b * block < to; b++) if (!this.blocks.has(b)) { this.ask(); return; }
  }

  // load asks for the rows that are looked at and not there; anew asks for all that are looked at.
  async load(anew) {
    const { id, filter, aborted } = this, [from, to] = this.range ?? [0, block];
    for (let b = Math.floor(from / block); b * block < Math.max(to, 1); b++) {
      if (!anew && this.blocks.has(b) || this.asked.has(b)) continue;
      this.asked.add(b);
      let answer;
      try {
        answer = await this.page.get("rows", { id, filter, from: b * block, count: block }, aborted.signal);
      } catch (e) {
        if (e.name === "AbortError" || this.id !== id) return;
        fill(this.note, h("span.bad", {}, e.message));
        return;
      } finally { if (this.aborted === aborted) this.asked.delete(b); }
      if (this.id !== id || this.filter !== filter || this.ended) return;
      if (answer.making) {
        fill(this.note, `Reading the keys… ${Math.floor(answer.making * 100)} %`);
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.load(), 120);
        return;
      }
      this.take(b, answer);
    }
  }

  // take takes a block of rows.
  take(b, answer) {
    const old = this.blocks.get(b);
    this.blocks.set(b, answer.rows);
    if (this.blocks.size > 40) this.blocks.delete(this.blocks.keys().next().value);
    this.total = answer.total;
    this.list.setTotal(answer.total);
    answer.rows.forEach((r, i) => { r.fresh = old?.[i] && old[i].key === r.key && old[i].text !== r.text; });
    if (!old || JSON.stringify(old.map(plainRow)) !== JSON.stringify(answer.rows.map(plainRow))) this.list.redraw(b * block, (b + 1) * block);
    this.mark();
    const found = this.filter ? `${count(answer.total)} of ${plural(answer.len, "key")}` : answer.kind === "ref" ? "" : plural(answer.len, answer.kind === "list" ? "element" : "entry", answer.kind === "list" ? "elements" : "entries");
    fill(this.note, h("span", {}, found),
      answer.cut && " · only the first keys are listed: type a whole key to find any other",
      answer.stale && h("span.stale", {}, " · the order is being read anew"), this.extra && ` · ${this.extra}`);
    if (answer.stale) this.again();
  }

  // refresh asks again for what is looked at.
  refresh() { if (this.id && !this.ended) this.load(true); }

  row(i) { return this.blocks.get(Math.floor(i / block))?.[i % block]; }

  draw(i) {
    const r = this.row(i);
    if (!r) return h("div.row.waiting", {}, h("span.key", {}, "…"));
    const key = r.key === undefined ? (r.cut ? r.cut : "") : plain(r.key);
    return h("div.row" + (r.fresh ? ".fresh" : "") + (r.gone ? ".gone" : ""), { onclick: () => this.open(i), title: key.slice(0, 200) },
      (r.key !== undefined || r.cut) && h("span.key", {}, key === "" ? "\u201c\u201d" : key), preview(r));
  }

  // open opens the entry of a row.
  open(i) {
    const r = this.row(i);
    if (!r) return;
    if (r.key === undefined && r.cut) { toast("This key is too long for the page; everheap get prints the entry.", true); return; }
    this.list.select(i);
    go(this.page.to({ view: "collections", id: this.id, filter: this.filter, key: r.key, open: r.key === undefined ? 1 : undefined }));
  }

  // mark selects the row of the address, if it is there.
  mark() {
    const { key } = this.page.place;
    if (key === undefined || this.row(this.list.selected)?.key === key) return;
    for (const [b, rows] of this.blocks) {
      const i = rows.findIndex((r) => r.key === key);
      if (i >= 0) { this.list.select(b * block + i); return; }
    }
    this.list.select(-1);
  }

  async add() {
    const form = await this.page.get("form", { id: this.id });
    edit({
      page: this.page, id: this.id, form, title: form.kind === "list" ? "Append an element" : "Add an entry",
      done: (key) => { this.refresh(); go(this.page.to({ view: "collections", id: this.id, filter: this.filter, key: form.kind === "list" ? String(form.len) : key })); },
    });
  }
}

function plainRow(r) { return [r.key, r.cut, r.text, r.size, r.gone]; }

// Value is one value.
class Value {
  constructor(page, box, rows) { Object.assign(this, { page, box, rows, opened: new Set() }); }

  show() {
    const { id, key, open } = this.page.place;
    this.text = undefined;
    this.opened = new Set();
    if (!id || key === undefined && !open) {
      fill(this.box, h("p.empty", {}, id ? "Choose an entry to see its value." : ""));
      if (id) this.single();
      return;
    }
    this.load();
  }

  // single opens what a reference leads to: a single value has no list to choose from.
  async single() {
    const { id } = this.page.place;
    await this.rows.names.loaded;
    const c = this.rows.names.find(id) ?? (await this.page.get("collections", { id })).list[0];
    if (c.kind === "ref" && this.page.place.id === id) { replace(this.page.to({ view: "collections", id, open: 1 })); this.page.place.open = 1; this.page.main.dataset.pane = "value"; this.load(); }
  }

  refresh() { if (this.text !== undefined) this.load(); }

  async load() {
    const { id, key, open } = this.page.place, asked = key + " " + id;
    this.asked = asked;
    let answer;
    try { answer = await this.page.get("value", { id, key }); } catch (e) {
      if (this.asked === asked) { this.text = ""; this.answer = undefined; fill(this.box, this.head(key, "", 0), h("p.empty.bad", {}, e.message)); }
      return;
    }
    if (this.asked !== asked || this.page.place.id !== id || this.page.place.key !== key || this.page.place.open !== open) return;
    if (answer.gone) {
      this.text = "";
      this.answer = undefined;
      fill(this.box, this.head(key, "", 0), h("p.empty", {}, "There is no such entry, or it was deleted."));
      return;
    }
    const text = JSON.stringify([answer.value, answer.links]);
    if (text === this.text) return;
    const again = this.text !== undefined;
    this.text = text;
    this.answer = answer;
    const top = this.box.scrollTop;
    fill(this.box, this.head(key, answer.valueType, answer.size), answer.value === undefined
      ? h("p.empty", {}, `The value takes ${size(answer.size)}: too much for a page. everheap get prints it.`)
      : tree(parse(answer.value), this.opened, (to) => this.link(to)));
    this.box.scrollTop = top;
    if (again) { this.box.classList.remove("fresh"); void this.box.offsetWidth; this.box.classList.add("fresh"); }
    if (!again && matchMedia("(max-width: 899px)").matches) this.box.focus?.();
  }

  head(key, type, bytes) {
    const { id, filter } = this.page.place;
    const c = this.rows.names.find(id);
    const write = this.page.info.write && !this.page.place.at && this.answer?.value !== undefined;
    return h("div.head", {},
      h("button.back", { onclick: () => history.length > 1 ? history.back() : go(this.page.to({ view: "collections", id, filter })), title: "Back", "aria-label": "Back" }, "‹"),
      h("div.what", {}, h("h2", {}, key === undefined ? c?.name ?? "A single value" : plain(key) || "\u201c\u201d"),
        h("code.type", {}, type), bytes ? h("span.size", {}, size(bytes)) : null),
      h("div.buttons", {},
        this.answer?.value !== undefined && h("button", { onclick: () => navigator.clipboard.writeText(this.answer.value).then(() => toast("The JSON is copied.")) }, "Copy"),
        write && h("button", { onclick: () => this.edit() }, "Edit"),
        write && key !== undefined && h("button.danger", { onclick: () => this.delete() }, "Delete")));
  }

  // link draws what a handle refers to.
  link({ kind, id }) {
    if (/^0+$/.test(id)) return h("span.none", {}, `nothing (${kinds[kind]})`);
    const l = this.answer.links?.[id];
    const named = this.rows.names.find(id);
    if (l?.gone) return h("span.gone", {}, `${kinds[kind]} that is gone, ${id}`);
    const type = l && ({ list: `[]${l.value}`, ref: l.value }[l.kind] ?? `${l.kind}[${l.key}]${l.value}`);
    return h("a.ref", { href: address(this.page.to({ view: "collections", id, open: kind === "ref" ? 1 : undefined })) },
      "→ ", named ? named.name : kinds[kind], type && h("code", {}, " ", type), l && kind !== "ref" && h("span.count", {}, ` ${count(l.len)}`));
  }

  async edit() {
    const { id, key } = this.page.place;
    const form = await this.page.get("form", { id });
    edit({
      page: this.page, id, form, key, value: this.answer.value,
      title: key === undefined ? "Edit the value" : `Edit ${plain(key)}`, done: () => { this.rows.refresh(); this.load(); },
    });
  }

  async delete() {
    const { id, key, filter } = this.page.place;
    if (!await ask(`Delete ${plain(key)}?`, "The entry is gone for all programs at once. A checkpoint would keep it.", "Delete", true)) return;
    await post("delete", { space: this.page.place.space, id, key, old: this.answer.value });
    toast("Deleted.");
    go(this.page.to({ view: "collections", id, filter }));
    this.rows.refresh();
  }
}
