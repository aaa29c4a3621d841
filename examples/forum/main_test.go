//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/everheap/everheap/examples/forum/command"
	"github.com/everheap/everheap/examples/forum/crew"
	"github.com/everheap/everheap/examples/forum/day"
	"github.com/everheap/everheap/examples/forum/model"
	"github.com/everheap/everheap/examples/forum/page"
	"github.com/everheap/everheap/examples/forum/seed"
	"github.com/everheap/everheap/examples/forum/site"
)

// dieEnv names a file: the server that removes it dies after a comment is stored, and before the
// answer.
const dieEnv = "EVERFORUM_TEST_DIE"

// TestMain makes this binary a server as well: the supervisor starts it again.
func TestMain(m *testing.M) {
	if os.Getenv("EVERFORUM_SEAT") == "" {
		os.Exit(m.Run())
	}
	os.Exit(command.Main(os.Args[1:], os.Stdout, os.Stderr, command.Store{Name: "everheap", Text: "memory", Open: func(path string) (seed.Store, error) {
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

var small = seed.Plan{Users: 100, Stories: 20, Comments: 1000}

// running is a site that runs.
type running struct {
	*crew.Crew
	dir     string
	program atomic.Pointer[string]
}

// start starts a site with a little in it.
func start(t *testing.T, env ...string) *running {
	t.Helper()
	r := &running{dir: t.TempDir()}
	f, err := model.Open(filepath.Join(r.dir, "everheap"))
	if err != nil {
		t.Fatal(err)
	}
	err = small.Load(f, func(p string) (page.Password, error) { return site.Hash(p, 10) }, func(int, int) {})
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.program.Store(&self)
	r.Crew, err = crew.Start(crew.Options{Address: "127.0.0.1:0", Seats: 3, Log: t.Logf, Command: func() *exec.Cmd {
		cmd := exec.Command(*r.program.Load(), "-data", r.dir, "-rounds", "10")
		cmd.Env = append(os.Environ(), env...)
		cmd.Stderr = os.Stderr
		return cmd
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	return r
}

// browser is somebody at the site, with one cookie, who sends what was not answered again.
type browser struct {
	t      *testing.T
	site   *running
	client http.Client
	cookie string
	again  int
}

func newBrowser(t *testing.T, r *running) *browser {
	b := &browser{t: t, site: r}
	b.client.Transport = &http.Transport{}
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(b.client.CloseIdleConnections)
	return b
}

func (b *browser) do(method, path string, form url.Values) (status int, to, body string) {
	for try := 0; ; try++ {
		r, err := http.NewRequest(method, "http://"+b.site.Address()+path, strings.NewReader(form.Encode()))
		if err != nil {
			b.t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Cookie", b.cookie)
		a, err := b.client.Do(r)
		if err == nil {
			text, err := io.ReadAll(a.Body)
			if a.Body.Close(); err == nil {
				if c := a.Header.Get("Set-Cookie"); c != "" {
					b.cookie, _, _ = strings.Cut(c, ";")
				}
				return a.StatusCode, a.Header.Get("Location"), string(text)
			}
		}
		if b.again++; try == 1 {
			b.t.Fatalf("%s %s fails twice: %v", method, path, err)
		}
	}
}

func (b *browser) login(name string) {
	if status, _, body := b.do("POST", "/login", url.Values{"name": {name}, "password": {seed.Password}}); status != http.StatusSeeOther {
		b.t.Fatalf("logging in: %d %s", status, body)
	}
}

func (b *browser) ops() (o site.Ops) {
	_, _, body := b.do("GET", "/ops.json", nil)
	if err := json.Unmarshal([]byte(body), &o); err != nil {
		b.t.Fatalf("%v: %s", err, body)
	}
	return o
}

// The day of the thread with servers killed at random: what was acknowledged is there, and
// nothing fails twice.
func TestDay_ServersKilled(t *testing.T) {
	r := start(t)
	o := day.Options{Address: r.Address(), Logins: 100, Posts: 100, Reads: 600, Connections: 4, Users: small.Users, Kill: 100 * time.Millisecond}
	if testing.Short() {
		o.Logins, o.Posts, o.Reads = 30, 30, 150
	}
	report, err := day.Play(o)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	report.Print(&out)
	t.Logf("%s", &out)
	if report.Killed == 0 || report.Checked.Posts != o.Posts || report.Checked.Logins != o.Logins+o.Connections {
		t.Errorf("%d killed, %+v checked", report.Killed, report.Checked)
	}
}

// A server dies between the click and the answer: the comment is stored, and nobody says so.
// The browser sends the form again, as a reload does, and the comment is there once.
func TestKill_BetweenClickAndAnswer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "die")
	r := start(t, dieEnv+"="+file)
	b := newBrowser(t, r)
	b.login("ada")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	status, to, body := b.do("POST", "/s/20/reply/0", url.Values{"key": {"0123456789abcdef"}, "text": {"said once"}})
	if want := fmt.Sprintf("/s/20#c%d", small.Count(19)+1); status != http.StatusSeeOther || to != want {
		t.Fatalf("status %d, to %q, want %q: %s", status, to, want, body)
	}
	if _, err := os.Stat(file); err == nil || b.again == 0 {
		t.Errorf("no server died: the test proves nothing")
	}
	_, _, body = b.do("GET", "/s/20", nil)
	if n := strings.Count(body, "said once"); n != 1 {
		t.Errorf("the comment is there %d times", n)
	}
	if _, _, body := b.do("GET", "/me", nil); body != "ada" {
		t.Errorf("the log-in is lost: I am %q", body)
	}
}

// The button of the page of the servers kills one, also the one that answers; nothing but
// servers can be killed with it.
func TestOps_KillButton(t *testing.T) {
	r := start(t)
	b := newBrowser(t, r)
	self := b.ops().Self
	if status, to, _ := b.do("POST", "/ops/kill", url.Values{"pid": {strconv.Itoa(self)}}); status != http.StatusSeeOther || to != "/ops" {
		t.Errorf("killing: status %d, to %q", status, to)
	}
	for {
		if o := b.ops(); o.Self != self {
			break
		}
	}
	if status, _, _ := b.do("POST", "/ops/kill", url.Values{"pid": {strconv.Itoa(os.Getpid())}}); status != http.StatusConflict {
		t.Errorf("killing what is no server: status %d", status)
	}
}

// Servers end with their supervisor, even if that is killed.
func TestCrew_EndsWithItsSupervisor(t *testing.T) {
	dir := t.TempDir()
	supervisor := exec.Command(os.Args[0], "-test.run=TestSupervisor_ForAnotherTest")
	supervisor.Env = append(os.Environ(), "EVERFORUM_TEST_SUPERVISE="+dir)
	out, err := supervisor.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for pid := 0; len(pids) < 2; {
		if _, err := fmt.Fscanf(out, "%d\n", &pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	supervisor.Process.Kill()
	supervisor.Wait()
	for _, pid := range pids {
		for {
			if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(stat), ") Z ") {
				break // it is gone, or nobody has asked for its status
			}
		}
	}
}

// The supervisor of TestCrew_EndsWithItsSupervisor: it starts two servers and says which.
func TestSupervisor_ForAnotherTest(t *testing.T) {
	dir := os.Getenv("EVERFORUM_TEST_SUPERVISE")
	if dir == "" {
		t.Skip("it is a part of another test")
	}
	c, err := crew.Start(crew.Options{Address: "127.0.0.1:0", Seats: 2, Command: func() *exec.Cmd { return exec.Command(os.Args[0], "-data", dir) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range c.PIDs() {
		fmt.Println(pid)
	}
	select {}
}

// A rolling restart to the second version of the types, under load: old and new servers side by
// side, the old ones drain, and no request fails even once.
// A new server that takes long to come shares its socket with one that is in use: that one ends
// all the same when it is asked to.
func TestRoll_NewServersAreSlow(t *testing.T) {
	r := start(t)
	script := filepath.Join(t.TempDir(), "slow")
	if err := os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\nsleep 0.5\nexec '%s' \"$@\"\n", *r.program.Load()), 0o700); err != nil {
		t.Fatal(err)
	}
	r.program.Store(&script)
	rolled := make(chan error, 1)
	go func() { rolled <- r.Roll() }()
	b := newBrowser(t, r)
	b.client.Transport = &http.Transport{DisableKeepAlives: true}
	for began := time.Now(); time.Since(began) < 300*time.Millisecond; {
		// Each request is a connection: some server takes it, and is ready to take another one, which
		// does not come before the new servers are there.
		if status, _, _ := b.do("GET", "/robots.txt", nil); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
	if err := <-rolled; err != nil {
		t.Error(err)
	}
}

func TestRoll_SecondVersionOfTheTypes(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a program")
	}
	next := filepath.Join(t.TempDir(), "forum2")
	if out, err := exec.Command("go", "build", "-tags", "forum2", "-o", next, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r := start(t)
	if v := newBrowser(t, r).ops().Servers[0].Version; v != 1 {
		t.Fatalf("the servers have version %d at first", v)
	}
	var stop atomic.Bool
	var all sync.WaitGroup
	var written atomic.Int64
	for w := range 3 {
		all.Go(func() {
			b := newBrowser(t, r)
			b.login(seed.Name(w))
			for i := 0; !stop.Load(); i++ {
				status, _, body := b.do("GET", fmt.Sprintf("/s/%d", 1+i%small.Stories), nil)
				if status != http.StatusOK || !strings.HasSuffix(body, "</html>\n") {
					t.Errorf("reading: status %d", status)
				}
				if status, _, body := b.do("POST", "/s/7/reply/0", url.Values{"key": {fmt.Sprintf("0123456789abcdef-%d", i)}, "text": {fmt.Sprintf("word%dx%d <script>&amp;", w, i)}}); status != http.StatusSeeOther {
					t.Errorf("writing: status %d: %s", status, body)
				}
				written.Add(1)
			}
			if b.again > 0 {
				t.Errorf("%d requests failed", b.again)
			}
		})
	}
	for written.Load() < 10 {
	}
	r.program.Store(&next)
	if err := r.Roll(); err != nil {
		t.Error(err)
	}
	for end := written.Load() + 10; written.Load() < end && !t.Failed(); {
	}
	stop.Store(true)
	all.Wait()
	b := newBrowser(t, r)
	b.login("ada")
	_, _, body := b.do("GET", "/s/7", nil)
	if n := strings.Count(body, `<li id="c`); n != small.Count(6)+int(written.Load()) {
		t.Errorf("story 7 has %d comments, want %d and %d", n, small.Count(6), written.Load())
	}
	if n := strings.Count(body, " &lt;script>&amp;amp;</p>"); n != int(written.Load()) { // HT1, by servers of both versions
		t.Errorf("%d comments are escaped once, want %d", n, written.Load())
	}
	status, to, _ := b.do("POST", "/submit", url.Values{"key": {"0123456789abcdef"}, "title": {"With tags"}, "tags": {"memory go"}})
	if _, _, body := b.do("GET", "/tag/memory", nil); status != http.StatusSeeOther || !strings.Contains(body, to) {
		t.Errorf("the tag is not there: status %d, %s", status, body)
	}
	old, err := model.Open(filepath.Join(r.dir, "everheap"))
	if !errors.Is(err, page.ErrOutdated) {
		t.Errorf("the old version opens the new data: %v", err)
		old.Front(page.Newest, func(int, iter.Seq[*page.Story]) error { return nil })
	}
}
