// The stored types as Go source.

import { h, fill, address, toast } from "./base.js";

const words = /(\/\/[^\n]*)|("(?:[^"\\\n]|\\.)*"|`[^`]*`)|\b(package|import|type|struct|map|interface|func|chan)\b|\b(bool|string|u?int(?:8|16|32|64)?|uintptr|byte|rune|float(?:32|64)|complex(?:64|128)|error|any)\b/g;

export function types(page) {
  const code = h("code"), choose = h("select", { "aria-label": "Collection", onchange: (e) => { location.hash = address(page.to({ view: "types", id: e.target.value })); } });
  let source = "";
  fill(page.main, h("div.head", {}, h("h1", {}, "Types"), choose, h("span.grow"),
    h("button", { onclick: () => navigator.clipboard.writeText(source).then(() => toast("The source is copied.")) }, "Copy")),
  h("p.note", {}, "The stored types as Go source, as programs would declare them."), h("pre.source", {}, code));
  const load = async () => {
    const { list } = await page.get("collections");
    fill(choose, h("option", { value: "" }, "All collections"), list.map((c) => h("option", { value: c.id, selected: c.id === page.place.id }, c.name)));
    source = (await page.get("types", { id: page.place.id, at: "" })).source;
    fill(code, paint(source));
  };
  load();
  return { changed: load };
}

// paint gives the words of Go colours.
function paint(text) {
  const parts = [];
  let at = 0;
  for (const m of text.matchAll(words)) {
    parts.push(text.slice(at, m.index), h("span." + (m[1] ? "comment" : m[2] ? "string" : m[3] ? "word" : "basic"), {}, m[0]));
    at = m.index + m[0].length;
  }
  parts.push(text.slice(at));
  return parts;
}
