//go:build linux

// Package forum tests the site of examples/forum in a browser, with several servers, of which
// some are killed.
package forum

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/everheap/everheap/examples/forum/command"
	"github.com/everheap/everheap/examples/forum/crew"
	"github.com/everheap/everheap/examples/forum/model"
	"github.com/everheap/everheap/examples/forum/page"
	"github.com/everheap/everheap/examples/forum/seed"
	"github.com/everheap/everheap/examples/forum/site"
	"github.com/everheap/everheap/test/browser/chrome"
)

// dieEnv names a file: the server that removes it dies after a comment is stored, and before the
// answer.
const dieEnv = "EVERFORUM_TEST_DIE"

// TestMain makes this binary a server as well: the supervisor starts it again.
func TestMain(m *testing.M) {
	if os.Getenv("EVERFORUM_SEAT") == "" {
		if path, reason := chrome.Find(); path == "" {
			fmt.Printf("the tests of the forum are skipped: %s\n", reason)
			os.Exit(0)
		}
		os.Exit(m.Run())
	}
	os.Exit(command.Main(os.Args[1:], os.Stdout, os.Stderr, command.Store{Name: "everheap", Text: "memory, by Everheap", Open: func(path string) (seed.Store, error) {
		f, err := model.Open(path)
		return mortal{f, os.Getenv(dieEnv)}, err
	}}))
}

// mortal is a store whose process dies when it has stored a comment, while there is a file.
type mortal struct {
	*model.Forum
	file string
}

func (m mortal) Reply(author, key string, story uint32, parent int, text string) (int, error) {
	n, err := m.Forum.Reply(author, key, story, parent, text)
	if m.file != "" && os.Remove(m.file) == nil {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return n, err
}

var plan = seed.Plan{Users: 300, Stories: 60, Comments: 2500}

// start starts a site with a little in it, and returns its address.
func start(t *testing.T, env ...string) string {
	t.Helper()
	dir := t.TempDir()
	f, err := model.Open(filepath.Join(dir, "everheap"))
	if err != nil {
		t.Fatal(err)
	}
	err = plan.Load(f, func(p string) (page.Password, error) { return site.Hash(p, 10) }, func(int, int) {})
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	c, err := crew.Start(crew.Options{Address: "127.0.0.1:0", Seats: 3, Log: t.Logf, Command: func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-data", dir, "-rounds", "10")
		cmd.Env = append(os.Environ(), env...)
		cmd.Stderr = os.Stderr
		return cmd
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return "http://" + c.Address()
}

// login logs in as a user of the seed, and comes to a page.
func login(w *chrome.Window, address, name, to string) {
	w.Run(chromedp.Navigate(address + "/login?to=" + to))
	w.Do(fmt.Sprintf(`(document.getElementById("name").value = %q, document.getElementById("password").value = %q, document.querySelector("form.write button").click())`, name, seed.Password))
	w.Until(name+" has logged in", fmt.Sprintf(`document.querySelector(".who a")?.textContent === %q && location.pathname === %q && document.readyState === "complete"`, name, to))
}

// write posts a text by the form of the page.
func write(w *chrome.Window, text string) {
	w.Do(fmt.Sprintf(`(document.getElementById("text").value = %q, setTimeout(() => document.querySelector("form.write button").click()))`, text))
}

// count is an expression for how many comments of the page have a text.
func count(text string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(".thread p")].filter(p => p.textContent === %q).length`, text)
}

// A comment that one writes appears in the window of another, where it belongs, and on the
// front page its number.
func TestForum_TwoBrowsers(t *testing.T) {
	b := chrome.Start(t)
	address := start(t)
	ada, grace, front := b.Window(t, chrome.Light), b.Window(t, chrome.Dark), b.Window(t, chrome.Light)
	login(ada, address, "ada", "/s/3")
	login(grace, address, "grace", "/s/3")
	front.Run(chromedp.Navigate(address + "/"))
	grace.Until("the page of grace is connected", `"connected" in document.body.dataset`)
	front.Until("the front page is connected", `"connected" in document.body.dataset`)
	before := chrome.Eval[int](grace, `document.querySelectorAll(".thread li").length`)

	const text = `<img src=x onerror="document.title='hurt'"> & more`
	write(ada, text)
	ada.Until("ada sees her comment", count(text)+" === 1")
	grace.Until("grace sees it without asking", count(text)+" === 1")
	grace.Until("grace sees how many there are", fmt.Sprintf(`document.querySelector("h2 .n").textContent === "%d"`, before+1))
	front.Until("the front page counts it", fmt.Sprintf(`document.querySelector("#s3 .n").textContent === "%d"`, before+1))
	grace.Screenshot("live")

	// An answer comes below what it answers.
	grace.Run(chromedp.Navigate(fmt.Sprintf("%s/s/3/reply/%d", address, before+1)))
	write(grace, "an answer")
	ada.Until("ada sees the answer below her comment", fmt.Sprintf(`document.querySelector("#c%d > details > ol > #c%d")`, before+1, before+2))
	for _, w := range []*chrome.Window{ada, grace} {
		w.Run(chromedp.Reload())
		w.Until("after a reload it is the same", fmt.Sprintf(`document.querySelector("#c%d > details > ol > #c%d") && `, before+1, before+2)+count(text)+" === 1")
		w.Until("no text has done harm", `document.title !== "hurt"`)
	}
	// A new story appears, too.
	ada.Run(chromedp.Navigate(address + "/submit"))
	ada.Do(`(document.getElementById("title").value = "A story that is new", document.querySelector("form.write button").click())`)
	front.Until("the front page has the new story", `document.querySelector("#stories li a").textContent === "A story that is new"`)
}

// A server is killed between the click and the answer. Whatever the browser makes of that, the
// comment is there once, the log-in holds, and the page goes on to live.
func TestForum_ServerKilledBetweenClickAndAnswer(t *testing.T) {
	b := chrome.Start(t)
	file := filepath.Join(t.TempDir(), "die")
	address := start(t, dieEnv+"="+file)
	ada := b.Window(t, chrome.Light)
	ada.Forgive("ERR_", "Failed to load")
	login(ada, address, "ada", "/s/3")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	write(ada, "said once")
	ada.Until("the answer comes, or the browser says that it does not", count("said once")+` === 1 || location.protocol === "chrome-error:"`)
	if _, err := os.Stat(file); err == nil {
		t.Fatal("no server died: the test proves nothing")
	}
	ada.Run(chromedp.Navigate(address + "/s/3"))
	ada.Until("after a reload the comment is there once", count("said once")+" === 1")
	ada.Until("the log-in holds", `document.querySelector(".who a").textContent === "ada"`)

	// The server that an open page listens to dies: the page connects to another one.
	ada.Until("the page is connected", `"connected" in document.body.dataset`)
	killAll(t, ada, address)
	grace := b.Window(t, chrome.Light)
	grace.Forgive("ERR_", "Failed to load")
	login(grace, address, "grace", "/s/3")
	write(grace, "after the deaths")
	ada.Until("the page that was open shows it", count("after the deaths")+" === 1")
}

// killAll kills all servers by the buttons of the page /ops, with a window of its own.
func killAll(t *testing.T, w *chrome.Window, address string) {
	t.Helper()
	w.Do(`(async () => {
		const o = await (await fetch("/ops.json")).json();
		for (const s of o.Servers) {
			for (let i = 0; i < 2; i++) {
				try { await fetch("/ops/kill", {method: "POST", body: new URLSearchParams({pid: s.PID})}); break; } catch {}
			}
		}
		for (;;) {
			try {
				const now = await (await fetch("/ops.json")).json();
				if (!now.Servers.some(s => o.Servers.some(was => was.PID === s.PID))) return;
			} catch {}
		}
	})()`)
}
