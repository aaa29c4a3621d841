// The form for an entry: a field for each field of its type, or the JSON of all. What the space
// refuses it says with the path of the field, and that is where it is shown.

import { h, fill, post, toast, Problem } from "./base.js";
import { parse, wrong, pretty, compact, plain } from "./json.js";

const numbers = /^(u?int(8|16|32|64)?|float(32|64))$/;

// edit shows the form in a dialog: of an entry with a key and a value, or of a new one. done is
// called when it was stored.
export async function edit({ page, id, title, form, key, value, done }) {
  const fresh = value === undefined;
  const zero = fresh ? undefined : parse(value);
  let whole = form.value.kind !== "struct" || !form.value.fields?.length;
  const errors = new Map(); // by path: the element beside the field
  const general = h("p.wrong", { role: "alert" });
  const keyField = fresh && form.kind !== "list" && form.kind !== "ref" ? input("key", form.key, undefined, errors, "key") : undefined;
  const body = h("div.fields");
  let parts, area;

  const draw = (node) => {
    for (const path of [...errors.keys()]) if (path !== "key") errors.delete(path);
    if (whole) {
      const error = h("span.wrong", { role: "alert" });
      errors.set("", error);
      area = h("textarea.json", { rows: 14, spellcheck: "false", "aria-label": "Value as JSON", value: node ? pretty(node) : "" });
      fill(body, h("label.field", {}, h("span.name", {}, "Value ", h("code", {}, form.value.type)), area, error));
    } else {
      parts = form.value.fields.map((f) => input(f.name, f, member(node, f.name), errors, f.name));
      fill(body, parts.map((p) => p.box));
    }
  };
  const text = () => whole ? area.value : "{" + parts.map((p) => [p, p.text()]).filter(([, t]) => t !== undefined)
    .map(([p, t]) => JSON.stringify(p.name) + ":" + t).join(",") + "}";
  draw(zero);

  const toggle = form.value.fields?.length ? h("button", {
    onclick: () => {
      let node;
      try { node = parse(text() || "{}"); } catch (e) { general.textContent = `This is not JSON: ${e.message}`; return; }
      general.textContent = "";
      whole = !whole;
      draw(node);
      fill(toggle, whole ? "As fields" : "As JSON");
    },
  }, whole ? "As fields" : "As JSON") : null;

  const store = async () => {
    general.textContent = "";
    for (const e of errors.values()) { e.textContent = ""; e.closest(".field")?.classList.remove("bad"); }
    const bad = whole ? wrong(area.value) : undefined;
    if (bad) return say("", `This is not JSON: ${bad}.`);
    try {
      await post("set", { space: page.place.space, id, key: fresh ? keyField?.text() : key, value: text(), old: fresh ? undefined : value });
      dialog.close();
      toast(fresh ? "Added." : "Stored.");
      done(fresh ? keyField?.text() : key);
    } catch (e) {
      if (!(e instanceof Problem)) throw e;
      say(e.part === "key" ? "key" : e.path, e.what ?? e.message, e.part);
    }
  };

  // say puts a message beside the field that it is about, or beside the nearest that holds it.
  const say = (path, what, part) => {
    let found = errors.get(path);
    for (let p = path; !found && p; ) {
      p = p.replace(/(\.[^.[]*|\[[^\]]*\])$/, "") === p ? "" : p.replace(/(\.[^.[]*|\[[^\]]*\])$/, "");
      found = errors.get(p);
    }
    if (!found) { general.textContent = (path && part ? `${path}: ` : "") + what; return; }
    found.textContent = (path && errors.get(path) !== found ? `${path}: ` : "") + what;
    const field = found.closest(".field");
    field?.classList.add("bad");
    field?.querySelector("input, textarea, select")?.focus();
  };

  const dialog = h("dialog.edit", { "aria-labelledby": "edit-title", onclose: () => dialog.remove() },
    h("form", { onsubmit: (e) => { e.preventDefault(); store(); } },
      h("h2", { id: "edit-title" }, title),
      keyField?.box, body, general,
      h("div.buttons", {}, toggle && (toggle.type = "button", toggle), h("span.grow"),
        h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
        h("button.main", { type: "submit" }, fresh ? "Add" : "Store"))));
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("input, textarea, select").focus();
}

function member(node, name) { return node?.kind === "object" ? node.members.find(([n]) => n === name)?.[1] : undefined; }

// input makes the field for a type: its box, and text, which returns JSON, or undefined if nothing
// was entered, which is the zero value.
function input(name, type, node, errors, path) {
  const error = h("span.wrong", { role: "alert" });
  errors.set(path, error);
  const label = h("span.name", {}, name, " ", h("code", {}, type.type));
  if (type.kind === "struct" && type.fields?.length) {
    const parts = type.fields.map((f) => input(f.name, f, member(node, f.name), errors, `${path}.${f.name}`));
    return {
      name, box: h("fieldset.field", {}, h("legend", {}, label), parts.map((p) => p.box), error),
      text: () => "{" + parts.map((p) => [p, p.text()]).filter(([, t]) => t !== undefined).map(([p, t]) => JSON.stringify(p.name) + ":" + t).join(",") + "}",
    };
  }
  let control, text;
  if (type.kind === "bool") {
    control = h("select", {}, ["false", "true"].map((v) => h("option", { value: v, selected: node?.text === v }, v)));
    text = () => control.value;
  } else if (type.kind === "string" && (node === undefined || node.kind === "string")) {
    const long = (node?.text.length ?? 0) > 80 || node?.text.includes("\n");
    control = h(long ? "textarea" : "input", { value: node?.text ?? "", rows: long && 5, spellcheck: "false", autocomplete: "off" });
    text = () => JSON.stringify(control.value);
  } else if (numbers.test(type.kind)) {
    control = h("input", { value: node ? plain(compact(node)) : "", inputmode: "decimal", autocomplete: "off", placeholder: "0" });
    text = () => control.value.trim() === "" ? undefined : wrong(control.value) ? JSON.stringify(control.value) : control.value;
  } else {
    const simple = type.kind === "time.Time" || type.kind.startsWith("netip.") || type.kind === "text";
    const of = node === undefined ? "" : simple && node.kind === "string" ? node.text : pretty(node);
    control = simple ? h("input", { value: of, autocomplete: "off", placeholder: type.kind === "time.Time" ? "2026-01-31T12:00:00Z" : "" })
      : h("textarea.json", { value: of, rows: Math.min(8, of.split("\n").length), spellcheck: "false", placeholder: "JSON" });
    text = () => control.value.trim() === "" ? undefined : wrong(control.value) ? JSON.stringify(control.value) : control.value;
  }
  control.dataset.path = path;
  return { name, box: h("label.field", {}, label, control, error), text };
}
