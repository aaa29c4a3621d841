// What all views have in common: elements, requests, the address, and how numbers are written.
// Whatever comes from a space becomes a text node, never markup.

// h makes an element: h("a", { href: "…", onclick: fn }, child, "text", …).
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const e = name === "svg" || h.svg.has(name)
    ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  if (classes.length) e.setAttribute("class", classes.join(" "));
  for (const [k, v] of Object.entries(props ?? {})) {
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (k === "value") e.value = v;
    else if (k === "css") for (const [n, x] of Object.entries(v)) e.style.setProperty(n, x);
    else e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...children.flat(3).filter((c) => c !== undefined && c !== null && c !== false));
  return e;
}
h.svg = new Set(["svg", "g", "path", "line", "circle", "rect", "text", "polyline"]);

// fill replaces what an element holds.
export function fill(e, ...children) {
  e.replaceChildren(...children.flat(3).filter((c) => c !== undefined && c !== null && c !== false));
  return e;
}

// Problem is an answer that says what is wrong.
export class Problem extends Error {
  constructor(answer, status) {
    super(answer.error ?? `the server answered ${status}`);
    Object.assign(this, { part: answer.part, path: answer.path ?? "", what: answer.what, current: answer.current, status });
  }
}

async function read(response) {
  const type = response.headers.get("Content-Type") ?? "";
  const answer = type.startsWith("application/json") ? await response.json()
    : { error: response.status === 401 ? "The server was started anew: open the address that it printed." : undefined };
  if (!response.ok) throw new Problem(answer, response.status);
  return answer;
}

// get asks for something; undefined parameters are left out.
export async function get(what, params = {}, signal) {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) if (v !== undefined && v !== "" && v !== null) q.set(k, v);
  return read(await fetch(`/api/${what}?${q}`, { signal }));
}

// post asks for something to be done.
export async function post(what, body) {
  return read(await fetch(`/api/${what}`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  }));
}

// The address says all that the page shows: #view=…&space=…&id=…, so that going back is what the
// browser does.
export function where() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

export function address(place) {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(place)) if (v !== undefined && v !== "" && v !== null) q.set(k, v);
  return "#" + q;
}

export function go(place) { location.hash = address(place); }

// replace changes the address without a step that one can go back.
export function replace(place) { history.replaceState(null, "", address(place)); }

export function size(n) {
  if (n < 1024) return `${n} B`;
  let unit = 0;
  for (; n >= 1023.95 && unit < 6; unit++) n /= 1024;
  return `${n.toFixed(n === Math.floor(n) || n >= 100 ? 0 : 1)} ${" KMGTPE"[unit]}iB`;
}

export function count(n) { return Math.round(n).toLocaleString("en-US"); }

export function short(n) {
  if (n < 1e4) return n < 10 && n !== Math.floor(n) ? n.toFixed(1) : count(n);
  return n < 1e6 ? `${(n / 1e3).toFixed(n < 1e5 ? 1 : 0)} k` : `${(n / 1e6).toFixed(1)} M`;
}

export function plural(n, one, many = one + "s") { return `${count(n)} ${n === 1 ? one : many}`; }

export function since(ms, now = Date.now()) {
  const s = Math.max(0, (now - ms) / 1000);
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} days`;
}

export function when(ms) {
  return new Date(ms).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

// toast says something for a moment.
export function toast(text, bad) {
  const box = document.getElementById("toast");
  const one = h("div.note" + (bad ? ".bad" : ""), {}, text);
  box.append(one);
  setTimeout(() => one.remove(), bad ? 8000 : 4000);
}

// ask shows a dialog and returns whether the person agreed.
export function ask(title, text, yes, danger) {
  return new Promise((done) => {
    const d = h("dialog", { "aria-labelledby": "ask-title", onclose: () => { d.remove(); done(d.returnValue === "yes"); } },
      h("h2", { id: "ask-title" }, title), ...[text].flat().map((t) => h("p", {}, t)),
      h("div.buttons", {},
        h("button", { onclick: () => d.close("no"), autofocus: true }, "Cancel"),
        h("button" + (danger ? ".danger" : ".main"), { onclick: () => d.close("yes") }, yes)));
    document.body.append(d);
    d.showModal();
  });
}

// later runs fn once, some time after the last call.
export function later(ms, fn) {
  let timer;
  return (...args) => { clearTimeout(timer); timer = setTimeout(fn, ms, ...args); };
}

// often runs fn at once, and then at most every so often, the last call for sure.
export function often(ms, fn) {
  let timer, again = false;
  const run = () => {
    again = false;
    timer = setTimeout(() => { timer = undefined; if (again) run(); }, ms);
    fn();
  };
  return () => { if (timer === undefined) run(); else again = true; };
}
