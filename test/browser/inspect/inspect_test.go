//go:build linux

// Package inspect tests the page of everheap inspect in a browser: the command serves a space that
// this process and others change meanwhile.
package inspect

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/everheap/everheap"
	"github.com/everheap/everheap/test/browser/chrome"
)

// User, Post and the others are what a forum would store.
type User struct {
	Name    string
	Karma   int
	Big     int64
	Joined  time.Time
	Address Address
	Tags    []string
	Friend  *Person
	Best    everheap.Ref[Post]
	Posts   everheap.List[Post]
	Seen    everheap.Map[string, int]
}

type Address struct {
	City   string
	Zip    string
	Active bool
}

type Person struct{ Name string }

type Post struct {
	Title string
	Text  string
	Score float64
	Votes map[string]bool
	By    everheap.Map[string, User]
}

// command is the path of the command, built once.
var command string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "everheap-inspect-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if path, reason := chrome.Find(); path == "" {
			fmt.Printf("the tests of the page are skipped: %s\n", reason)
			return 0
		}
		command = filepath.Join(dir, "everheap")
		build := exec.Command("go", "build", "-o", command, "./cmd/everheap")
		build.Dir, build.Stderr = "../../..", os.Stderr
		if err := build.Run(); err != nil {
			return 1
		}
		return m.Run()
	}())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// forum makes a space with a few of everything, and many words if many is not 0.
func forum(t testing.TB, many int) (dir string, s *everheap.Space) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "forum")
	s, err := everheap.Open(dir)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	users, err := everheap.OpenMap[string, User](s, "users")
	must(t, err)
	posts, err := everheap.OpenSorted[int, Post](s, "posts")
	must(t, err)
	front, err := everheap.OpenList[everheap.Ref[Post]](s, "front page")
	must(t, err)
	_, err = everheap.OpenRef(s, "settings", Address{City: "Lisbon"})
	must(t, err)
	odd, err := everheap.OpenMap[string, string](s, "odd")
	must(t, err)
	must(t, odd.Set(s, "script", `<script>window.hurt = 1</script><img src=x onerror="window.hurt = 2">`))
	must(t, odd.Set(s, `<img src=x onerror="window.hurt = 3">`, `</textarea><svg onload="window.hurt = 4">`))
	must(t, odd.Set(s, "large", strings.Repeat("0123456789abcdef", 1<<16)))
	names := []string{"Ada Lovelace", "Charles Babbage", "Grace Hopper", "Alan Turing", "Edsger Dijkstra", "Barbara Liskov", "Donald Knuth", "Niklaus Wirth"}
	must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range 400 {
			name := names[i%len(names)]
			p := Post{Title: fmt.Sprintf("Story %d", i), Text: strings.Repeat("It keeps ordinary objects in memory. ", 1+i%30), Score: float64(i) / 8,
				Votes: map[string]bool{"ada": true, "grace": i%2 == 0}, By: users}
			ref, err := everheap.New(tx, p)
			if err != nil {
				return err
			}
			mine, err := everheap.NewList[Post](tx)
			if err != nil {
				return err
			}
			seen, err := everheap.NewMap[string, int](tx)
			if err != nil {
				return err
			}
			for j := range i % 5 {
				if err := mine.Append(tx, Post{Title: fmt.Sprintf("Answer %d", j), By: users}); err != nil {
					return err
				}
				if err := seen.Set(tx, fmt.Sprintf("story-%d", j), j); err != nil {
					return err
				}
			}
			u := User{Name: name, Karma: i * 7, Big: 9007199254740993 + int64(i), Joined: time.Date(2026, 1, 2, 3, 4, i%60, 0, time.UTC),
				Address: Address{City: "London", Zip: fmt.Sprint(10000 + i), Active: i%3 == 0}, Tags: []string{"poet", "analyst"},
				Friend: &Person{names[(i+1)%len(names)]}, Best: ref, Posts: mine, Seen: seen}
			if err := users.Set(tx, strings.ToLower(strings.Fields(name)[0])+fmt.Sprintf("-%03d", i), u); err != nil {
				return err
			}
			if err := posts.Set(tx, i*3, p); err != nil {
				return err
			}
			if err := front.Append(tx, ref); err != nil {
				return err
			}
		}
		return nil
	}))
	if many > 0 {
		words, err := everheap.OpenMap[string, int](s, "words")
		must(t, err)
		for from := 0; from < many; from += 50_000 {
			must(t, s.Update(context.Background(), func(tx *everheap.Tx) error {
				for i := from; i < min(from+50_000, many); i++ {
					if err := words.Set(tx, fmt.Sprintf("word-%07d", i), i); err != nil {
						return err
					}
				}
				return nil
			}))
		}
	}
	return dir, s
}

// serve starts the command for a test, and returns the address that it prints.
func serve(t testing.TB, args ...string) string {
	t.Helper()
	address, _, end := start(t, args...)
	t.Cleanup(end)
	return address
}

// start starts the command, until end is called.
func start(t testing.TB, args ...string) (address string, pid int, end func()) {
	t.Helper()
	c := exec.Command(command, append([]string{"inspect"}, args...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	end = func() {
		must(t, c.Process.Signal(syscall.SIGTERM))
		if err := c.Wait(); err != nil {
			t.Errorf("the command ended with %v", err)
		}
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return strings.TrimSpace(line), c.Process.Pid, end
}

// run runs another process: a verb of the command.
func run(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command(command, args...).CombinedOutput(); err != nil {
		t.Fatalf("everheap %q: %v\n%s", args, err, out)
	}
}

// open opens the page, at a place.
func open(t testing.TB, b *chrome.Browser, look chrome.Look, address, place string) *chrome.Window {
	t.Helper()
	w := b.Window(t, look)
	w.Run(chromedp.Navigate(address))
	w.Until("the page is there", `document.querySelector("#nav a")`)
	visit(w, place)
	return w
}

// visit goes to a place on the page.
func visit(w *chrome.Window, place string) {
	w.Do(fmt.Sprintf("void (location.hash = %q)", place))
}

// click clicks what a selector finds, with a text in it.
func click(w *chrome.Window, selector, text string) {
	find := fmt.Sprintf(`[...document.querySelectorAll(%q)].find((e) => e.innerText.includes(%q) && e.getClientRects().length && !e.disabled)`, selector, text)
	w.Until(fmt.Sprintf("there is %s with %q", selector, text), find)
	w.Do("void " + find + ".click()")
}
