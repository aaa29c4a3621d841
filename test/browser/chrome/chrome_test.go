//go:build linux

package chrome

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

// Two windows have cookies of their own, see what a page does, and leave pictures.
func TestWindow_IsOnePerson(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "nobody"
		if c, err := r.Cookie("name"); err == nil {
			name = c.Value
		} else {
			http.SetCookie(w, &http.Cookie{Name: "name", Value: r.URL.Query().Get("name")})
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(`<link rel="icon" href="data:,"><p>` + name + `</p><script>setTimeout(() => { document.title = "done" }, 50)</script>`))
	}))
	defer server.Close()
	b := Start(t)
	var windows []*Window
	for i, name := range []string{"ada", "grace"} {
		w := b.Window(t, Looks[i])
		w.Run(chromedp.Navigate(server.URL+"/?name="+name), chromedp.Navigate(server.URL))
		windows = append(windows, w)
	}
	for i, name := range []string{"ada", "grace"} {
		text := Eval[string](windows[i], `document.querySelector("p").innerText`)
		dark := Eval[bool](windows[i], `matchMedia("(prefers-color-scheme: dark)").matches`)
		windows[i].Until("the script has run", `document.title == "done"`)
		windows[i].Screenshot("self")
		if text != name || dark != Looks[i].Dark {
			t.Errorf("the window of %s shows %q, dark %v", name, text, dark)
		}
	}
	if _, err := os.Stat("../" + Artefacts + "/chrome/self-dark.png"); err != nil {
		t.Error(err)
	}
}
