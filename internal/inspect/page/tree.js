// A value as a tree, with links for what its handles refer to.

import { h, fill, size, count } from "./base.js";
import { handle, plain } from "./json.js";

const mostItems = 100, mostText = 400, mostShown = 200_000;

// tree returns the element of a value. open is the set of the paths that are open; link returns the
// element for a handle.
export function tree(node, open, link) {
  return h("div.tree", {}, entry(undefined, node, "", open, link, 0));
}

// entry draws one part: its name, its value, and what is in it.
function entry(name, node, path, open, link, depth) {
  const label = name === undefined ? null : h("span.name", {}, name);
  const to = handle(node);
  if (to) return h("div.leaf", {}, label, link(to));
  const parts = node.kind === "object" ? node.members : node.kind === "array" ? node.items.map((x, i) => [String(i), x]) : [];
  if (node.kind === "string") return h("div.leaf", {}, label, text(node.text));
  if (!parts.length) {
    const empty = { object: "{ }", array: "[ ]" }[node.kind];
    return h("div.leaf", {}, label, h("span." + (empty ? "none" : node.kind), {}, empty ?? node.text));
  }
  if (depth === 0 && !open.has(path) && !open.has("-" + path)) open.add(path);
  const inside = h("div.inside");
  const e = h("details", {
    open: open.has(path), ontoggle: () => {
      if (e.open) open.add(path), open.delete("-" + path);
      else open.delete(path), open.add("-" + path);
      if (e.open && !inside.firstChild) children(inside, node, parts, path, open, link, depth);
    },
  }, h("summary", {}, label, h("span.sum", {}, summary(node, parts))), inside);
  if (e.open) children(inside, node, parts, path, open, link, depth);
  return e;
}

// children draws the parts, some at a time.
function children(inside, node, parts, path, open, link, depth, from = 0) {
  const to = Math.min(parts.length, from + mostItems);
  for (let i = from; i < to; i++) {
    inside.append(entry(node.kind === "array" ? `[${parts[i][0]}]` : parts[i][0], parts[i][1], `${path}/${parts[i][0]}`, open, link, depth + 1));
  }
  if (to < parts.length) {
    const more = h("button.more", { onclick: () => { more.remove(); children(inside, node, parts, path, open, link, depth, to); } },
      `${count(parts.length - to)} more`);
    inside.append(more);
  }
}

// summary says in a few words what is in a part.
function summary(node, parts) {
  const words = parts.slice(0, 4).map(([k, v]) => (node.kind === "object" ? k + ": " : "") + brief(v)).join(", ");
  const cut = words.length > 70 ? words.slice(0, 70) + "…" : words + (parts.length > 4 ? ", …" : "");
  return node.kind === "array" ? `${count(parts.length)} [${cut}]` : `{${cut}}`;
}

function brief(v) {
  const to = handle(v);
  if (to) return "→ " + to.kind;
  if (v.kind === "object") return v.members.length ? "{…}" : "{ }";
  if (v.kind === "array") return v.items.length ? `[${v.items.length}]` : "[ ]";
  if (v.kind === "string") return JSON.stringify(v.text.length > 24 ? v.text.slice(0, 24) + "…" : v.text);
  return v.text;
}

// text draws a string; of a long one the beginning.
function text(s) {
  const box = h("span.string");
  const show = (n) => fill(box, s.slice(0, n),
    n < s.length && h("button.more", { onclick: () => show(n < mostText * 2 ? mostShown : n + mostShown) },
      n < mostText * 2 && s.length > mostShown ? `… show more of ${size(s.length)}` : `… show ${size(Math.min(s.length - n, mostShown))} more`));
  show(s.length > mostText ? mostText : s.length);
  return box;
}

// preview draws the beginning of the text of a value, as a row has it.
export function preview(row) {
  if (row.gone) return h("span.none", {}, "deleted meanwhile");
  if (row.text === "") return h("span.none", {}, `${size(row.size)}, open it`);
  return h("span.text", {}, row.text[0] === '"' && row.text.at(-1) === '"' ? plain(row.text) : row.text);
}
