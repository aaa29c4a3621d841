//go:build linux

package inspect

import (
	"strings"
	"testing"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/test/browser/chrome"
)

// Every view, in light, dark and at the width of a phone: a picture of each is kept, nothing sticks
// out of the window, and the page has nothing to complain about.
func TestPage_LooksEverywhere(t *testing.T) {
	b := chrome.Start(t)
	dir, s := forum(t, 0)
	must(t, s.Checkpoint("before the day"))
	users, err := everheap.OpenMap[string, User](s, "users")
	must(t, err)
	must(t, users.Set(s, "new", User{Name: "New"}))
	must(t, users.Modify(s, "ada-000", func(u *User) error { u.Karma++; return nil }))
	_, err = users.Delete(s, "grace-002")
	must(t, err)
	must(t, s.Checkpoint("noon"))
	must(t, s.Mutex("nightly").Lock(t.Context()))
	address := serve(t, dir, "--write")
	hex := func(name string) string {
		c, err := s.Collection(name)
		must(t, err)
		return idText(c.ID())
	}
	places := []struct{ name, place, ready string }{
		{"collections", "view=collections&id=" + hex("users") + "&key=%22ada-000%22", `document.querySelector(".tree .ref") && document.querySelector(".row")`},
		{"list", "view=collections&id=" + hex("posts"), `document.querySelector(".row .key")`},
		{"names", "view=collections", `document.querySelector(".links a")`},
		{"now", "view=now", `document.querySelectorAll(".stat").length > 3 && document.querySelector("table")`},
		{"heap", "view=heap", `document.querySelector(".legend span")`},
		{"time", "view=time&with=before+the+day&id=" + hex("users"), `document.querySelector(".change")`},
		{"types", "view=types", `document.querySelector(".source .word")`},
		{"work", "view=work", `document.querySelector(".card")`},
		{"checkpoint", "view=collections&at=noon&id=" + hex("settings") + "&open=1", `document.querySelector(".at") && document.querySelector(".tree")`},
	}
	looks := chrome.Looks
	if testing.Short() {
		looks = looks[2:]
	}
	for _, look := range looks {
		w := open(t, b, look, address, "")
		for _, p := range places {
			visit(w, p.place)
			w.Until(p.name+" is there", p.ready)
			w.Until("nothing sticks out", `document.documentElement.scrollWidth <= innerWidth`)
			w.Screenshot(p.name)
		}
		visit(w, "view=collections&id="+hex("users")+"&key=%22ada-000%22")
		click(w, "button", "Edit")
		w.Until("the form is there", `document.querySelector("dialog.edit input")`)
		w.Screenshot("edit")
	}
}

// idText writes an ID as the page does.
func idText(id everheap.ID) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for shift := 60; shift >= 0; shift -= 4 {
		b.WriteByte(digits[id>>shift&15])
	}
	return b.String()
}
