// A list of any length: only the rows that can be seen are there. Browsers draw no element of more
// than some ten million pixels, so a long list is drawn on a shorter one: small steps move it by
// pixels, and a drag of the scroll bar by parts of the whole.

import { h } from "./base.js";

const tallest = 8_000_000;

// List draws rows: draw(i) returns the element of a row, which is absolute, and seen(from, to) is
// told which rows are looked at.
export class List {
  constructor({ height, draw, seen, label, open }) {
    Object.assign(this, { height, draw, seen, open, total: 0, top: 0, selected: -1, rows: new Map() });
    this.room = h("div.room");
    this.box = h("div.window", { tabindex: 0, role: "listbox", "aria-label": label, onscroll: () => this.scrolled(), onkeydown: (e) => this.key(e) }, this.room);
    this.last = 0;
    this.resize = new ResizeObserver(() => this.update());
    this.resize.observe(this.box);
  }

  // end lets go of what it has.
  end() { this.resize.disconnect(); }

  get view() { return this.box.clientHeight; }
  get tall() { return this.total * this.height; }
  get drawn() { return Math.min(this.tall, tallest); }

  // setTotal says how many rows there are.
  setTotal(n) {
    if (n === this.total) return;
    this.total = n;
    this.room.style.height = this.drawn + "px";
    this.box.setAttribute("aria-rowcount", n);
    this.top = Math.max(0, Math.min(this.top, this.tall - this.view));
    this.update();
  }

  scrolled() {
    const now = this.box.scrollTop, step = now - this.last;
    this.last = now;
    if (this.moving) { this.moving = false; return; }
    const most = Math.max(1, this.drawn - this.view), whole = Math.max(0, this.tall - this.view);
    if (this.tall <= tallest) this.top = now;
    else if (Math.abs(step) < this.view) this.top = Math.max(0, Math.min(whole, this.top + step));
    else this.top = now / most * whole;
    this.update();
    if (this.tall > tallest) {
      clearTimeout(this.settle);
      this.settle = setTimeout(() => this.place(), 150);
    }
  }

  // place puts the scroll bar where the rows are.
  place() {
    const most = Math.max(1, this.drawn - this.view), whole = Math.max(1, this.tall - this.view);
    const want = Math.round(this.top / whole * most);
    if (this.tall > tallest && Math.abs(want - this.box.scrollTop) > 1) {
      this.moving = true;
      this.box.scrollTop = this.last = want;
      this.update();
    }
  }

  // show makes a row visible.
  show(i) {
    const y = i * this.height;
    if (y < this.top) this.top = y;
    else if (y + this.height > this.top + this.view) this.top = y + this.height - this.view;
    if (this.tall <= tallest) this.box.scrollTop = this.last = this.top;
    else this.place();
    this.update();
  }

  // update draws what can be seen.
  update() {
    const from = Math.max(0, Math.floor(this.top / this.height) - 4);
    const to = Math.min(this.total, Math.ceil((this.top + this.view) / this.height) + 4);
    for (const [i, e] of this.rows) if (i < from || i >= to) { e.remove(); this.rows.delete(i); }
    const base = this.tall <= tallest ? 0 : this.box.scrollTop - this.top;
    for (let i = from; i < to; i++) {
      let e = this.rows.get(i);
      if (!e) {
        e = this.draw(i);
        e.id = `${this.name ?? "row"}-${i}`;
        e.setAttribute("role", "option");
        e.setAttribute("aria-posinset", i + 1);
        e.setAttribute("aria-setsize", this.total);
        this.rows.set(i, e);
        this.room.append(e);
      }
      e.style.transform = `translateY(${base + i * this.height}px)`;
      e.classList.toggle("selected", i === this.selected);
      e.setAttribute("aria-selected", i === this.selected);
    }
    if (this.selected >= 0) this.box.setAttribute("aria-activedescendant", `${this.name ?? "row"}-${this.selected}`);
    this.seen(from, to);
  }

  // redraw draws rows anew.
  redraw(from = 0, to = this.total) {
    for (const [i, e] of this.rows) if (i >= from && i < to) { e.remove(); this.rows.delete(i); }
    this.update();
  }

  select(i) {
    this.selected = i;
    this.update();
  }

  key(e) {
    if (e.altKey || e.ctrlKey || e.metaKey) return;
    const page = Math.max(1, Math.floor(this.view / this.height) - 1);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.total, End: this.total }[e.key];
    if (step !== undefined && this.total > 0) {
      e.preventDefault();
      const first = Math.ceil(this.top / this.height);
      const from = this.selected < 0 ? (step > 0 ? first - 1 : first) : this.selected;
      this.selected = Math.max(0, Math.min(this.total - 1, from + step));
      this.show(this.selected);
    } else if ((e.key === "Enter" || e.key === " ") && this.selected >= 0) {
      e.preventDefault();
      this.open(this.selected);
    }
  }
}
