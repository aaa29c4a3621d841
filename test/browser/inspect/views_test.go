//go:build linux

package inspect

import (
	"context"
	"fmt"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/test/browser/chrome"
)

// A checkpoint is made on the page, looked at, compared with now, and gone back to, after a question.
func TestPage_TravelsInTime(t *testing.T) {
	b := chrome.Start(t)
	dir, s := forum(t, 0)
	settings, err := everheap.OpenRef(s, "settings", Address{})
	must(t, err)
	city := func(want string) {
		t.Helper()
		if a, err := settings.Get(s); err != nil || a.City != want {
			t.Errorf("the city is %s and not %s: %v", a.City, want, err)
		}
	}
	w := open(t, b, chrome.Dark, serve(t, dir, "--write"), "view=time")
	w.Forgive("409")
	for range 2 {
		w.Until("the form is there", `document.querySelector(".make input")`)
		w.Do(`void (document.querySelector(".make input").value = "morning")`)
		click(w, ".make button", "Make")
		w.Until("it is on the line, or refused", `[...document.querySelectorAll(".point")].some((e) => e.innerText === "morning")`)
	}
	w.Until("a second one of the name is refused", `document.querySelector(".make .wrong").innerText.includes("morning")`)
	must(t, settings.Modify(s, func(a *Address) error { a.City = "Porto"; return nil }))
	click(w, "td a", "Look at it")
	click(w, ".links a", "settings")
	w.Until("it is what it was", `document.querySelector(".tree")?.innerText.includes("Lisbon") && document.querySelector(".at").innerText.includes("morning")`)
	w.Until("it cannot be edited", `![...document.querySelectorAll("button")].some((e) => e.innerText === "Edit")`)
	click(w, ".at a", "Back to now")
	w.Until("it is what it is", `document.querySelector(".tree")?.innerText.includes("Porto")`)

	visit(w, "view=time")
	click(w, "td button", "Compare with now")
	click(w, ".changes a", "Which?")
	w.Until("the difference is there", `document.querySelector(".change.tilde")?.innerText.includes("Lisbon") && document.querySelector(".change").innerText.includes("Porto") && !document.querySelector(".change").innerText.includes("Zip")`)
	click(w, "td button", "Go back")
	w.Until("it asks", `document.querySelector("dialog")?.innerText.includes("1 entry differs")`)
	w.Screenshot("ask")
	click(w, "dialog button", "Cancel")
	w.Until("the question is gone", `!document.querySelector("dialog")`)
	city("Porto")
	click(w, "td button", "Go back")
	click(w, "dialog button", "Go back")
	w.Until("it is done", `document.querySelector("#toast").innerText.includes("is what it was")`)
	city("Lisbon")
	click(w, "td button", "Drop")
	click(w, "dialog button", "Drop")
	w.Until("it is gone", `document.querySelectorAll(".point").length === 1`)
}

// Each task runs to its end and says what it came to.
func TestPage_Works(t *testing.T) {
	b := chrome.Start(t)
	dir, s := forum(t, 0)
	must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
		_, err := everheap.NewMap[string, int](tx) // nothing refers to it
		return err
	}))
	w := open(t, b, chrome.Light, serve(t, dir, "--write"), "view=work")
	for title, result := range map[string]string{"Check": "Nothing is wrong", "Backup": "The backup has", "Collect": "object", "Compact": "back"} {
		card := fmt.Sprintf(`[...document.querySelectorAll(".card")].find((e) => e.innerText.startsWith(%q))`, title)
		w.Until("the card is there", card+`?.querySelector("button")`)
		w.Do("void " + card + `.querySelector("button").click()`)
		w.Until(title+" has a result", card+fmt.Sprintf(`.querySelector(".result")?.innerText.includes(%q)`, result))
	}
	w.Screenshot("works")
	size := chrome.Eval[int](w, `fetch(document.querySelector(".card a[download]").href).then((r) => r.arrayBuffer()).then((b) => b.byteLength)`)
	if size < 100_000 {
		t.Errorf("the download has %d bytes", size)
	}
}

// What happens is seen: a process that writes, one that holds a lock, and a reader, which pins what
// the picture of the heap shows as kept by it.
func TestPage_ShowsWhoDoesWhat(t *testing.T) {
	b := chrome.Start(t)
	dir, s := forum(t, 20_000)
	words, err := everheap.OpenMap[string, int](s, "words")
	must(t, err)
	must(t, s.Mutex("nightly").Lock(t.Context()))
	w := open(t, b, chrome.Light, serve(t, dir), "view=now")
	must(t, s.View(func(*everheap.Tx) error {
		for i := range 20_000 {
			must(t, words.Set(s, fmt.Sprintf("word-%07d", i), -i))
		}
		w.Until("the process and what it holds are there", `document.querySelector("#main").innerText.includes("inspect.test") && /behind/.test(document.querySelector("td[data-label=Holds]")?.innerText)`)
		w.Until("what it pins is found out", `/pins .*[KM]iB/.test(document.querySelector("td[data-label=Holds]").innerText)`)
		w.Until("the lock is there", `document.querySelector("#main").innerText.includes("nightly")`)
		w.Until("the chart has commits", `document.querySelector(".chart strong").innerText !== "–"`)
		w.Screenshot("busy")
		visit(w, "view=heap")
		w.Until("the reader keeps extents", `document.querySelector("#main")?.innerText.includes("the reader inspect.test")`)
		click(w, ".choose button", "keeps")
		w.Until("the colours are explained", `document.querySelector(".legend").innerText.includes("the reader inspect.test")`)
		w.Do(`void document.querySelector("canvas").focus()`)
		w.Do(`void document.querySelector("canvas").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }))`)
		w.Until("a cell says what it is", `document.querySelector(".tip.on").innerText.startsWith("Extent")`)
		w.Screenshot("keepers")
		return nil
	}))
	before := chrome.Eval[string](w, `getComputedStyle(document.body).backgroundColor`)
	click(w, "#bar button", "◐")
	w.Until("it is dark", fmt.Sprintf(`getComputedStyle(document.body).backgroundColor !== %q && document.documentElement.dataset.theme === "dark"`, before))
}
