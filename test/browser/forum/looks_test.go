//go:build linux

package forum

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/everheap/everheap/test/browser/chrome"
)

// Every page, in light, dark and at the width of a phone: a picture of each is kept, nothing
// sticks out of the window, and the page has nothing to complain about.
func TestForum_LooksEverywhere(t *testing.T) {
	b := chrome.Start(t)
	address := start(t)
	looks := chrome.Looks
	if testing.Short() {
		looks = looks[2:]
	}
	for _, look := range looks {
		w := b.Window(t, look)
		see := func(name, path string) {
			w.Run(chromedp.Navigate(address + path))
			w.Until(name+" is there", `document.readyState === "complete" && document.querySelector("main h1")`)
			w.Until("nothing of "+name+" sticks out", `document.documentElement.scrollWidth <= innerWidth`)
			w.Screenshot(name)
		}
		see("front", "/")
		see("login", "/login")
		see("register", "/register")
		see("search", "/search?q=memory")
		see("user", "/u/ada")
		login(w, address, "ada", "/s/3")
		see("story", "/s/3")
		see("linked", "/s/1#c6")
		see("reply", "/s/3/reply/2")
		see("submit", "/submit")
		see("ops", "/ops")
		w.Forgive("404")
		see("error", "/s/999999")
	}
}
