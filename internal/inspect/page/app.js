// The page: which view there is, what all views see, and the stream of what happens.
// Start reading at show.

import { h, fill, get, where, address, go, count, toast } from "./base.js";
import { collections } from "./collections.js";
import { now } from "./now.js";
import { heap } from "./heap.js";
import { time } from "./time.js";
import { types } from "./types.js";
import { work } from "./work.js";

// A view is a function of the page: it fills page.main and returns { version, now, changed, end },
// what it does when there is a new version, a new sample, another address, and at its end.
const views = {
  collections: { title: "Collections", icon: "M2 3h12v3H2zM2 7h12v3H2zM2 11h12v3H2z", view: collections },
  now: { title: "Now", icon: "M1 9h3l2-6 4 10 2-4h3v1h-2.4L10 15 6 5 4.6 10H1z", view: now },
  heap: { title: "Heap", icon: "M2 2h3v3H2zM6 2h3v3H6zM10 2h4v3h-4zM2 6h7v4H2zM10 6h4v4h-4zM2 11h3v3H2zM6 11h8v3H6z", view: heap },
  time: { title: "Time", icon: "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1zm0 1.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM7.2 4h1.5v4l3 1.8-.8 1.3-3.700-2.2z", view: time },
  types: { title: "Types", icon: "M5 3 1 8l4 5 1.2-1L3 8l3.200-4zM11 3l4 5-4 5-1.200-1L13 8 9.800 4z", view: types },
  work: { title: "Work", icon: "M6 1h4l.5 2 1.700.9L14 3.300l2 3.400-1.500 1.300L16 9.300l-2 3.400-1.800-.6-1.700.9L10 15H6l-.5-2-1.700-.9-1.800.6-2-3.400L1.500 8 0 6.700l2-3.400 1.800.6L5.500 3zM8 5.500a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5z", view: work },
};

const page = {
  main: document.getElementById("main"),
  info: undefined, // version, write, spaces
  place: {},       // what the address says
  past: [],        // samples
  now: undefined,  // the last one, with processes, locks and work
  version: 0,
  // to returns an address in the same space, in the same version.
  to(place) { return { space: page.place.space, at: page.place.at, ...place }; },
  get(what, params, signal) { return get(what, { space: page.place.space, at: page.place.at, ...params }, signal); },
};
let current; // the view
let shown = "";

// show shows what the address says.
function show() {
  const place = where();
  if (!views[place.view]) place.view = "collections";
  if (!page.info.spaces.some((s) => s.name === place.space)) {
    place.space = (page.info.spaces.find((s) => !s.error) ?? page.info.spaces[0])?.name;
  }
  const before = page.place;
  page.place = place;
  if (before.space !== place.space) listen();
  drawBar();
  drawBanner();
  document.title = `${views[place.view].title} · ${called(place.space)} · Everheap`;
  const frame = [place.space, place.view, place.at].join("\n");
  if (frame === shown && current?.changed) return current.changed(before);
  shown = frame;
  current?.end?.();
  current = undefined;
  fill(page.main);
  page.main.className = place.view;
  const space = page.info.spaces.find((s) => s.name === place.space);
  if (!space || space.error) {
    fill(page.main, h("p.empty.bad", {}, space ? `This space could not be opened: ${space.error}` : "No space is shown."));
    return;
  }
  current = views[place.view].view(page);
  if (page.now) current.now?.(page.now);
}

// called is how a space is called: by its name, or the last part of its directory.
const called = (name = "") => name.replace(/\/+$/, "").split("/").at(-1) || name;

// drawBar draws what is above all views.
function drawBar() {
  const { space, view } = page.place;
  const choose = page.info.spaces.length > 1
    ? h("select", { "aria-label": "Space", onchange: (e) => go({ view, space: e.target.value }) },
      page.info.spaces.map((s) => h("option", { value: s.name, selected: s.name === space, title: s.dir }, called(s.name))))
    : h("strong.space", { title: page.info.spaces[0]?.dir }, called(space));
  fill(document.getElementById("bar"),
    h("a.brand", { href: address({ view: "collections", space }), "aria-label": "Everheap" }, h("img", { src: "icon.svg", alt: "", width: 20, height: 20 }), h("span", {}, "Everheap")),
    choose,
    page.info.write ? h("span.tag.write", { title: "Started with --write" }, "can write") : h("span.tag", { title: "Started without --write" }, "read-only"),
    h("span.grow"),
    state,
    h("button.icon", { title: "Light or dark", "aria-label": "Switch between light and dark", onclick: switchTheme }, "◐"));
  fill(document.getElementById("nav"), Object.entries(views).map(([name, v]) =>
    h("a" + (name === view ? ".here" : ""), { href: address({ view: name, space, at: page.place.at }), "aria-current": name === view && "page" },
      h("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, h("path", { d: v.icon, "fill-rule": "evenodd" })), h("span", {}, v.title))));
}

// drawBanner says when the page does not show the newest version.
function drawBanner() {
  const { at, view, space, id } = page.place;
  fill(document.getElementById("banner"), at && h("div.at", {},
    h("span", {}, "You are looking at the checkpoint ", h("strong", {}, at), ", not at what is there now."),
    h("a.button", { href: address({ view, space, id }) }, "Back to now")));
}

const state = h("span.state", { title: "The newest version" });

// drawState says which version is the newest, and whether the page hears of changes.
function drawState(live) {
  fill(state, h("span.dot" + (live ? "" : ".off"), { "aria-hidden": "true" }), live ? `version ${count(page.version)}` : "not connected");
}

// The stream of what happens. It ends while nobody looks at the page.
let stream;
function listen() {
  stream?.close();
  stream = undefined;
  if (document.hidden || !page.place.space) return;
  const space = page.info.spaces.find((s) => s.name === page.place.space);
  if (!space || space.error) return;
  page.now = undefined;
  stream = new EventSource("/api/live?" + new URLSearchParams({ space: page.place.space }));
  stream.addEventListener("past", (e) => { page.past = JSON.parse(e.data) ?? []; });
  stream.addEventListener("version", (e) => {
    page.version = Number(e.data);
    drawState(true);
    if (!page.place.at) current?.version?.(page.version);
  });
  stream.addEventListener("now", (e) => {
    page.now = JSON.parse(e.data);
    const last = page.past.at(-1);
    if (!last || page.now.sample.t - last.t > 900) {
      page.past.push(page.now.sample);
      if (page.past.length > 300) page.past.shift();
    }
    current?.now?.(page.now);
  });
  stream.onopen = () => drawState(true);
  stream.onerror = () => drawState(false);
}

function theme() { try { return localStorage.getItem("theme"); } catch { return null; } }

function setTheme(t) {
  if (t) document.documentElement.dataset.theme = t;
  else delete document.documentElement.dataset.theme;
  page.dark = t ? t === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  current?.theme?.();
}

function switchTheme() {
  const t = page.dark ? "light" : "dark";
  try { localStorage.setItem("theme", t); } catch { /* then it is for now */ }
  setTheme(t);
}

setTheme(theme());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(theme()));
document.addEventListener("visibilitychange", listen);
addEventListener("hashchange", show);
addEventListener("unhandledrejection", (e) => {
  e.preventDefault();
  if (e.reason?.name !== "AbortError") toast(e.reason?.message ?? String(e.reason), true);
});
addEventListener("keydown", (e) => {
  if (e.target.closest?.("input, textarea, select, dialog") || e.altKey || e.ctrlKey || e.metaKey) return;
  const n = Number(e.key), names = Object.keys(views);
  if (n >= 1 && n <= names.length) go(page.to({ view: names[n - 1] }));
});
addEventListener("keyup", (e) => { // not when it goes down: then it would be typed into the field
  if (e.key !== "/" || e.target.closest?.("input, textarea, select, dialog")) return;
  const f = document.querySelector("input[type=search]");
  f?.focus();
  f?.select();
});
try {
  page.info = await get("spaces");
  show();
} catch (e) {
  fill(page.main, h("p.empty.bad", {}, e.message));
}

