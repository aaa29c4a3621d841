//go:build linux

package inspect

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/everheap/everheap"
	"github.com/everheap/everheap/test/browser/chrome"
)

// idOf returns the ID of a collection as the page has it.
func idOf(t testing.TB, s *everheap.Space, name string) string {
	t.Helper()
	c, err := s.Collection(name)
	must(t, err)
	return idText(c.ID())
}

// manyEntries is how many entries the large map has.
func manyEntries() int {
	if testing.Short() {
		return 100_000
	}
	return 1_000_000
}

// One entry among a million is found by typing a part of its key; the list is scrolled to its end and
// by keys; what another process changes is seen without anybody asking.
func TestPage_FindsByTypingAndSeesChanges(t *testing.T) {
	b := chrome.Start(t)
	many := manyEntries()
	dir, s := forum(t, many)
	w := open(t, b, chrome.Light, serve(t, dir), "view=collections&id="+idOf(t, s, "words"))
	w.Until("all entries are there", fmt.Sprintf(`document.querySelector(".entries .note").innerText.startsWith((%d).toLocaleString("en-US") + " entries")`, many))
	w.Until("the first is first", `document.querySelector(".row .key")?.innerText === "word-0000000"`)

	w.Run(chromedp.KeyEvent("/"))
	w.Until("the field has the focus", `document.activeElement.type === "search"`)
	sought := fmt.Sprintf("word-%07d", many-4_321)
	w.Run(chromedp.KeyEvent(fmt.Sprintf("RD-%07d", many-4_321)))
	w.Until("one is left", `document.querySelector(".entries .note").innerText.startsWith("1 of")`)
	w.Until("it is the one", fmt.Sprintf(`document.querySelectorAll(".row").length === 1 && document.querySelector(".row .key").innerText === %q`, sought))
	w.Run(chromedp.KeyEvent(kb.Enter))
	w.Until("it is open", fmt.Sprintf(`document.querySelector(".value h2").innerText === %q && document.querySelector(".tree .number").innerText === "%d"`, sought, many-4_321))

	run(t, "set", dir, "words", sought, "77")
	w.Until("the change of another process is seen", `document.querySelector(".tree .number").innerText === "77" && document.querySelector(".row .text").innerText === "77"`)

	w.Do(`void (() => { const f = document.querySelector("input[type=search]"); f.value = ""; f.dispatchEvent(new Event("input")); })()`)
	w.Until("all are there again", `document.querySelector(".row .key")?.innerText === "word-0000000"`)
	w.Do(`void (document.querySelector(".window").scrollTop = 1e9)`)
	w.Until("the last is last", fmt.Sprintf(`[...document.querySelectorAll(".row .key")].some((e) => e.innerText === "word-%07d")`, many-1))
	w.Do(`void document.querySelector(".window").focus()`)
	w.Run(chromedp.KeyEvent(kb.Home), chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Enter))
	w.Until("the second is open", `document.querySelector(".value h2").innerText === "word-0000001"`)
}

// A reference in a value is a link, to what it refers to, and the way back is that of the browser.
func TestPage_FollowsReferences(t *testing.T) {
	b := chrome.Start(t)
	dir, s := forum(t, 0)
	w := open(t, b, chrome.Light, serve(t, dir), "view=collections&id="+idOf(t, s, "users")+"&filter=alan-003")
	click(w, ".row", "alan-003")
	w.Until("a number has all its digits", `document.querySelector(".tree").innerText.includes("9007199254740996")`)
	click(w, ".tree a", "inspect.Post")
	w.Until("the post is open", `document.querySelector(".value .type").innerText === "inspect.Post" && document.querySelector(".tree").innerText.includes("Story 3")`)
	click(w, ".tree a", "users")
	w.Until("its map is there", `document.querySelector(".entries h2").innerText === "users" && document.querySelector(".row")`)
	w.Run(chromedp.NavigateBack())
	w.Until("the post is there again", `document.querySelector(".tree")?.innerText.includes("Story 3")`)
	click(w, ".value .back", "")
	w.Until("the user is there again", `document.querySelector(".value h2").innerText === "alan-003" && document.querySelector(".tree")?.innerText.includes("Alan Turing")`)
	click(w, ".tree a", "[]inspect.Post")
	w.Until("the list without a name is there", `document.querySelector(".entries .type").innerText === "[]inspect.Post" && document.querySelectorAll(".row").length === 3`)
}

// field sets a field of the form.
func field(w *chrome.Window, path, text string) {
	w.Do(fmt.Sprintf(`void (document.querySelector("dialog [data-path='" + %q + "']").value = %q)`, path, text))
}

// An entry is edited: an error stands beside its field, then the right value is stored; one is added,
// one is deleted; and what another process changes meanwhile is not overwritten.
func TestPage_Edits(t *testing.T) {
	b := chrome.Start(t)
	dir, s := forum(t, 0)
	users, err := everheap.OpenMap[string, User](s, "users")
	must(t, err)
	w := open(t, b, chrome.Light, serve(t, dir, "--write"), "view=collections&id="+idOf(t, s, "users")+"&key=%22ada-000%22")
	w.Forgive("422", "409") // the browser says in its console that an answer is no success
	click(w, "button", "Edit")
	w.Until("the form is there", `document.querySelector("dialog.edit input")`)
	field(w, "Karma", "many")
	field(w, "Address.City", "Paris")
	click(w, "dialog button", "Store")
	w.Until("the error is beside the field", `document.querySelector("[data-path=Karma]").closest(".field.bad")?.querySelector(".wrong").innerText.includes("number")`)
	w.Screenshot("error")
	field(w, "Karma", "12")
	field(w, "Tags", `["poet", 7]`)
	click(w, "dialog button", "Store")
	w.Until("the error is beside the other field, with its path", `document.querySelector("[data-path=Tags]").closest(".field.bad")?.querySelector(".wrong").innerText.includes("Tags[1]") && !document.querySelector("[data-path=Karma]").closest(".field.bad")`)
	field(w, "Tags", `["poet", "seven"]`)
	click(w, "dialog button", "Store")
	w.Until("the dialog is gone", `!document.querySelector("dialog") && document.querySelector(".tree").innerText.includes("12")`)
	u, err := users.Get(s, "ada-000")
	if err != nil || u.Karma != 12 || u.Address.City != "Paris" || u.Tags[1] != "seven" || u.Big != 9007199254740993 || u.Best.IsNil() {
		t.Errorf("stored is %+v: %v", u, err)
	}

	click(w, "button", "Edit")
	w.Until("the form is there", `document.querySelector("dialog.edit input")`)
	run(t, "del", dir, "users", "ada-000")
	field(w, "Karma", "13")
	click(w, "dialog button", "Store")
	w.Until("it is refused", `document.querySelector("dialog").innerText.includes("deleted meanwhile")`)
	click(w, "dialog button", "Cancel")
	w.Until("the dialog is gone", `!document.querySelector("dialog")`)

	click(w, "button", "Add")
	w.Until("the form is there, with a key", `document.querySelector("dialog.edit [data-path=key]")`)
	field(w, "key", "grace-002")
	click(w, "dialog button", "Add")
	w.Until("a key that is there is refused", `document.querySelector("[data-path=key]").closest(".field").querySelector(".wrong").innerText.includes("already")`)
	field(w, "key", "zuse")
	field(w, "Name", "Konrad Zuse")
	click(w, "dialog button", "Add")
	w.Until("it is open", `document.querySelector(".value h2")?.innerText === "zuse" && document.querySelector(".tree")?.innerText.includes("Konrad Zuse")`)
	click(w, "button", "Delete")
	click(w, "dialog button", "Delete")
	w.Until("it is gone", `!document.querySelector("dialog") && !document.querySelector(".tree")`)
	if has, err := users.Has(s, "zuse"); has || err != nil {
		t.Errorf("the deleted entry is there: %v, %v", has, err)
	}
}

// What is stored as markup is text everywhere, and a value of a megabyte does no harm.
func TestPage_StoredScriptsDoNothing(t *testing.T) {
	b := chrome.Start(t)
	dir, s := forum(t, 0)
	must(t, s.Checkpoint(`<img src=x onerror="window.hurt = 5">`))
	odd, err := everheap.OpenMap[string, string](s, `odd`)
	must(t, err)
	must(t, odd.Set(s, "script", `<script>window.hurt = 6</script>`))
	_, err = everheap.OpenMap[string, string](s, `<svg onload="window.hurt = 7">`)
	must(t, err)
	m := s.Mutex(`<img src=x onerror="window.hurt = 8">`)
	must(t, m.Lock(t.Context()))
	defer m.Unlock()
	id := idOf(t, s, "odd")
	w := open(t, b, chrome.Light, serve(t, dir), "view=collections&id="+id)
	for _, key := range []string{"script", `<img src=x onerror="window.hurt = 3">`, "large"} {
		click(w, ".row", key)
		w.Until("it is open", `document.querySelector(".tree .string")`)
	}
	w.Until("the megabyte is short", `document.querySelector(".tree .string").innerText.length < 1000 && document.querySelector(".row:last-child").innerText.includes("MiB") || document.querySelector(".entries").innerText.includes("MiB")`)
	click(w, ".tree button", "show")
	w.Until("more of it is there", `document.querySelector(".tree .string").innerText.length > 100000`)
	visit(w, "view=now")
	w.Until("the lock is there", `document.querySelector("#main").innerText.includes("window.hurt = 8")`)
	visit(w, "view=time&with="+url.QueryEscape(`<img src=x onerror="window.hurt = 5">`)+"&id="+id)
	w.Until("the difference is there", `document.querySelector(".change")?.innerText.includes("hurt = 6")`)
	visit(w, "view=types")
	w.Until("the types are there", `document.querySelector(".source").innerText.includes("hurt")`)
	if hurt := chrome.Eval[bool](w, `window.hurt !== undefined || document.querySelector("#main img, #main script, #main [onload], #main [onerror]") !== null`); hurt {
		t.Error("stored markup became part of the page")
	}
}

// Each who has not the token, or comes by another name or from another origin, is refused.
func TestServer_RefusesOthers(t *testing.T) {
	b := chrome.Start(t)
	dir, _ := forum(t, 0)
	address := serve(t, dir, "--write")
	at, err := url.Parse(address)
	must(t, err)
	base := "http://" + at.Host
	ask := func(path string, header map[string]string) int {
		r, err := http.NewRequest("GET", base+path, nil)
		must(t, err)
		for k, v := range header {
			if r.Header.Set(k, v); k == "Host" {
				r.Host = v
			}
		}
		answer, err := http.DefaultClient.Do(r)
		must(t, err)
		must(t, answer.Body.Close())
		return answer.StatusCode
	}
	right := map[string]string{"Authorization": "Bearer " + at.Query().Get("token")}
	with := func(k, v string) map[string]string {
		return map[string]string{"Authorization": right["Authorization"], k: v}
	}
	for name, c := range map[string]struct {
		path   string
		header map[string]string
		want   int
	}{
		"right":           {"/api/spaces", right, 200},
		"no token":        {"/api/spaces", nil, 401},
		"wrong token":     {"/?token=" + strings.Repeat("0", 64), nil, 403},
		"wrong bearer":    {"/api/spaces", map[string]string{"Authorization": "Bearer 0"}, 401},
		"wrong cookie":    {"/api/spaces", map[string]string{"Cookie": "everheap-inspect-" + at.Port() + "=0"}, 401},
		"rebound name":    {"/api/spaces", with("Host", "evil.example:"+at.Port()), 421},
		"other port":      {"/api/spaces", with("Host", "127.0.0.1:1"), 421},
		"other origin":    {"/api/spaces", with("Origin", "http://evil.example"), 403},
		"null origin":     {"/api/spaces", with("Origin", "null"), 403},
		"other site":      {"/api/spaces", with("Sec-Fetch-Site", "cross-site"), 403},
		"same site only":  {"/api/spaces", with("Sec-Fetch-Site", "same-site"), 403},
		"own origin":      {"/api/spaces", with("Origin", base), 200},
		"by another name": {"/api/spaces", with("Host", "localhost:"+at.Port()), 200},
	} {
		if got := ask(c.path, c.header); got != c.want {
			t.Errorf("%s: %d, not %d", name, got, c.want)
		}
	}
	w := b.Window(t, chrome.Light)
	w.Forgive("401", "403")
	w.Run(chromedp.Navigate(base + "/?token=wrong"))
	w.Until("it is refused", `document.body.innerText.includes("not the one of this server")`)
	w.Run(chromedp.Navigate(base))
	w.Until("it says what is missing", `document.body.innerText.includes("has the token")`)
	w.Run(chromedp.Navigate(address))
	w.Until("the right token opens the page, and leaves the address", `document.querySelector("#nav a") && !location.href.includes("token")`)
	if chrome.Eval[string](w, "document.cookie") != "" {
		t.Error("the cookie can be read by scripts")
	}
}
