// JSON as the space writes it: numbers stay texts, since those of JavaScript hold 53 bits only.

// parse returns a tree of { kind, … }: object has members [name, node], array has items, string has
// text, number, true, false and null have their text.
export function parse(text) {
  let at = 0;
  const space = /[ \t\n\r]*/y, number = /-?\d+(\.\d+)?([eE][+-]?\d+)?/y, chars = /"(?:[^"\\\u0000-\u001f]|\\.)*"/y;
  const skip = () => { space.lastIndex = at; space.test(text); at = space.lastIndex; };
  const fail = () => { throw new SyntaxError(at >= text.length ? "it ends too early" : `character ${at + 1}, ${JSON.stringify(text[at])}, does not belong there`); };
  const expect = (c) => { skip(); if (text[at] !== c) fail(); at++; };
  const string = () => {
    chars.lastIndex = at;
    const m = chars.exec(text);
    if (!m) fail();
    let s;
    try { s = JSON.parse(m[0]); } catch { fail(); }
    at = chars.lastIndex;
    return s;
  };
  const value = () => {
    skip();
    const from = at, c = text[at];
    if (c === "{") {
      const members = [];
      at++; skip();
      if (text[at] === "}") { at++; return { kind: "object", members, from, to: at }; }
      for (;;) {
        skip();
        const name = string();
        expect(":");
        members.push([name, value()]);
        skip();
        if (text[at] === "}") break;
        expect(",");
      }
      at++;
      return { kind: "object", members, from, to: at };
    }
    if (c === "[") {
      const items = [];
      at++; skip();
      if (text[at] === "]") { at++; return { kind: "array", items, from, to: at }; }
      for (;;) {
        items.push(value());
        skip();
        if (text[at] === "]") break;
        expect(",");
      }
      at++;
      return { kind: "array", items, from, to: at };
    }
    if (c === '"') { const s = string(); return { kind: "string", text: s, from, to: at }; }
    for (const word of ["true", "false", "null"]) {
      if (text.startsWith(word, at)) { at += word.length; return { kind: word === "null" ? "null" : "bool", text: word, from, to: at }; }
    }
    number.lastIndex = at;
    const m = number.exec(text);
    if (!m) fail();
    at = number.lastIndex;
    return { kind: "number", text: m[0], from, to: at };
  };
  const root = value();
  skip();
  if (at < text.length) fail();
  return root;
}

// valid says what is wrong with a text; undefined: it is JSON.
export function wrong(text) {
  try { parse(text); } catch (e) { return e.message; }
}

// handle returns what a node refers to: { kind, id }; undefined if it is no handle.
export function handle(node) {
  if (node.kind !== "object" || node.members.length !== 1) return undefined;
  const [name, v] = node.members[0];
  if (!["$map", "$sorted", "$list", "$ref"].includes(name) || v.kind !== "string") return undefined;
  return { kind: name.slice(1), id: v.text };
}

// plain returns how a key is shown: a string without quotes.
export function plain(text) {
  if (text === undefined) return "";
  if (text[0] !== '"') return text;
  try { return JSON.parse(text); } catch { return text; }
}

// pretty indents.
export function pretty(node, indent = "") {
  const deeper = indent + "  ";
  if (node.kind === "object" && node.members.length && !handle(node)) {
    return "{\n" + node.members.map(([k, v]) => deeper + JSON.stringify(k) + ": " + pretty(v, deeper)).join(",\n") + "\n" + indent + "}";
  }
  if (node.kind === "array" && node.items.length) {
    if (node.items.every((i) => i.kind === "number")) return "[" + node.items.map((i) => i.text).join(", ") + "]";
    return "[\n" + node.items.map((i) => deeper + pretty(i, deeper)).join(",\n") + "\n" + indent + "]";
  }
  return compact(node);
}

// compact is the text of a node.
export function compact(node) {
  switch (node.kind) {
    case "object": return "{" + node.members.map(([k, v]) => JSON.stringify(k) + ":" + compact(v)).join(",") + "}";
    case "array": return "[" + node.items.map(compact).join(",") + "]";
    case "string": return JSON.stringify(node.text);
  }
  return node.text;
}
