// Keeps an open page up to date. Without it every page works; it shows what came meanwhile.
"use strict";
const said = document.getElementById("said");
const make = html => { const t = document.createElement("template"); t.innerHTML = html; return t.content.firstElementChild; };
const bump = (where, n) => { if (where) where.textContent = n; };

function say(text, to) {
  said.textContent = "";
  const a = document.createElement("a");
  a.href = to; a.textContent = text;
  said.append(a);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => said.textContent = "", 8000);
}

// comment puts a new comment below what it answers.
function comment(event) {
  const space = event.data.indexOf(" "), parent = +event.data.slice(0, space), id = "c" + event.lastEventId;
  if (document.getElementById(id)) return;
  const item = make(event.data.slice(space + 1));
  item.className = "fresh";
  let list = document.getElementById("comments");
  const above = parent && document.getElementById("c" + parent);
  if (above) {
    let box = above.querySelector(":scope > details");
    if (!box) {
      box = make("<details open><summary></summary><ol></ol></details>");
      above.append(box);
    }
    list = box.querySelector("ol");
  }
  list.append(item);
  for (let box = item.closest("details"); box; box = box.parentElement.closest("details")) {
    const n = box.querySelectorAll("li").length;
    box.querySelector("summary").textContent = n + (n === 1 ? " reply" : " replies");
  }
  bump(document.querySelector("h2 .n"), document.querySelectorAll(".thread li").length);
  say("A new comment", "#" + id);
}

if (document.body.dataset.live) {
  const events = new EventSource(document.body.dataset.live);
  events.addEventListener("comment", comment);
  events.addEventListener("points", e => bump(document.getElementById("points"), e.data));
  events.addEventListener("counts", e => {
    const d = JSON.parse(e.data), row = document.getElementById("s" + d.story);
    if (row) { bump(row.querySelector(".n"), d.comments); bump(row.querySelector(".points"), d.points); }
  });
  events.addEventListener("story", e => {
    const row = make(e.data);
    if (document.getElementById(row.id)) return;
    row.className = "fresh";
    document.getElementById("stories").prepend(row);
    bump(document.getElementById("count"), document.querySelectorAll(".stories li").length);
    say("A new story", "#" + row.id);
  });
  events.addEventListener("open", () => document.body.dataset.connected = "");
  addEventListener("pagehide", () => events.close());
}

// The page of the servers is fetched anew each second.
const servers = document.getElementById("servers");
if (servers) setInterval(async () => {
  try {
    const page = new DOMParser().parseFromString(await (await fetch("/ops")).text(), "text/html");
    const fresh = page.getElementById("servers"), focus = servers.contains(document.activeElement) && document.activeElement.value;
    if (fresh) servers.replaceChildren(...fresh.childNodes);
    if (focus) servers.querySelector(`button[value="${CSS.escape(focus)}"]`)?.focus();
  } catch { /* the server that was asked is gone: the next one is asked in a second */ }
}, 1000);
