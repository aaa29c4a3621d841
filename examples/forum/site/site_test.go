//go:build linux

package site_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/everheap/everheap/examples/forum/model"
	"github.com/everheap/everheap/examples/forum/page"
	"github.com/everheap/everheap/examples/forum/site"
)

const hostile = `<script>alert("1")</script>&amp;'`

// world is a site over a space, and a browser.
type world struct {
	t      *testing.T
	store  *model.Forum
	server *httptest.Server
	cookie string
}

func newWorld(t *testing.T) *world {
	store, err := model.Open(filepath.Join(t.TempDir(), "space"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: store}
	ctx, cancel := context.WithCancel(context.Background())
	w.server = httptest.NewUnstartedServer(nil)
	s := site.New(store, site.Options{Address: w.server.Listener.Addr().String(), Rounds: 10, Store: "memory"})
	w.server.Config.Handler = s
	w.server.Start()
	ran := make(chan bool)
	go func() { s.Run(ctx); close(ran) }()
	t.Cleanup(func() {
		cancel()
		<-ran
		w.server.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// do sends a request and returns the status, the address that it leads to, and the page.
func (w *world) do(method, path string, form url.Values, header ...string) (int, string, string) {
	w.t.Helper()
	r, err := http.NewRequest(method, w.server.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Cookie", w.cookie)
	for i := 0; i < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	a, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"} {
		if a.Header.Get(name) == "" {
			w.t.Errorf("%s %s: no %s", method, path, name)
		}
	}
	if c := a.Header.Get("Set-Cookie"); c != "" {
		if !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") {
			w.t.Errorf("the cookie is %q", c)
		}
		w.cookie, _, _ = strings.Cut(c, ";")
	}
	return a.StatusCode, a.Header.Get("Location"), string(body)
}

func (w *world) wants(status int, method, path string, form url.Values, header ...string) (to, body string) {
	w.t.Helper()
	got, to, body := w.do(method, path, form, header...)
	if got != status {
		w.t.Errorf("%s %s: status %d, want %d: %.200s", method, path, got, status, body)
	}
	return to, body
}

func (w *world) register(name string) {
	w.t.Helper()
	w.wants(303, "POST", "/register", url.Values{"name": {name}, "password": {"long enough"}})
}

var keyOf = regexp.MustCompile(`name="key" value="(\w+)"`)

func TestSite_StoryFromRegistrationToSearch(t *testing.T) {
	w := newWorld(t)
	if to, _ := w.wants(303, "GET", "/submit", nil); to != "/login?to=/submit" {
		t.Errorf("who has not logged in is led to %s", to)
	}
	w.register("ada")
	_, form := w.wants(200, "GET", "/submit", nil)
	key := keyOf.FindStringSubmatch(form)
	if key == nil {
		t.Fatal("the form has no key")
	}
	story, _ := w.wants(303, "POST", "/submit", url.Values{"key": {key[1]}, "title": {"About " + hostile}, "text": {"Hello\r\n" + hostile}, "link": {"https://a.example/?a=1&b='\""}})
	for i := range 3 {
		to, _ := w.wants(303, "POST", fmt.Sprintf("%s/reply/%d", story, i), url.Values{"key": {fmt.Sprintf("0123456789abcdef%d", i)}, "text": {fmt.Sprint(hostile, " number ", i)}})
		if want := fmt.Sprintf("%s#c%d", story, i+1); to != want {
			t.Errorf("the comment leads to %s, want %s", to, want)
		}
	}
	for _, path := range []string{"/", "/?sort=top", "/?sort=active", story, story + "/reply/2", "/u/ada", "/search?q=" + url.QueryEscape(hostile), "/search?q=number", "/search", "/ops", "/login", "/register?to=/x", "/login?to=" + url.QueryEscape(`"><script>`)} {
		_, body := w.wants(200, "GET", path, nil)
		if strings.Contains(body, "<script>") || strings.Contains(body, `b='"`) || !strings.HasSuffix(body, "</html>\n") {
			t.Errorf("%s: %s", path, body)
		}
	}
	_, body := w.wants(200, "GET", story, nil)
	if n := strings.Count(body, `<li id="c`); n != 3 {
		t.Errorf("the page has %d comments", n)
	}
	if n := strings.Count(body, `</p><p>&lt;script>alert("1")&lt;/script>&amp;amp;' number `); n != 3 { // HT1
		t.Errorf("%d comments are escaped once: %s", n, body)
	}
	if _, body := w.wants(200, "GET", "/search?q=NUMBER+alert", nil); strings.Count(body, "number") != 1+3 {
		t.Errorf("the search has found: %s", body)
	}
	w.wants(409, "POST", story+"/moderate", url.Values{"up": {"1"}})
	w.wants(303, "POST", "/logout", nil)
	w.wants(403, "POST", story+"/reply/0", url.Values{"key": {"0123456789abcdef"}, "text": {"x"}})
	w.wants(403, "GET", "/me", nil)
	w.wants(403, "POST", "/login", url.Values{"name": {"ada"}, "password": {"wrong"}})
	w.wants(403, "POST", "/login", url.Values{"name": {"nobody"}, "password": {"wrong"}})
	to, _ := w.wants(303, "POST", "/login", url.Values{"name": {"ada"}, "password": {"long enough"}, "to": {"//evil.example/"}})
	if to != "/" {
		t.Errorf("the log-in leads to %s", to)
	}
	if _, body := w.wants(200, "GET", "/me", nil); body != "ada" {
		t.Errorf("I am %s", body)
	}
	w.register("bob")
	w.wants(303, "POST", story+"/moderate", url.Values{"up": {"1"}})
	w.wants(409, "POST", story+"/moderate", url.Values{"down": {"1"}})
	if _, body := w.wants(200, "GET", story, nil); !strings.Contains(body, "<b>+2</b>") {
		t.Error("the point is not there")
	}
}

func TestSite_RefusesWhatIsNotItsOwn(t *testing.T) {
	w := newWorld(t)
	w.register("ada")
	post := url.Values{"key": {"0123456789abcdef"}, "title": {"A story"}}
	w.wants(403, "POST", "/submit", post, "Origin", "https://evil.example")
	w.wants(403, "POST", "/submit", post, "Sec-Fetch-Site", "cross-site")
	w.wants(421, "GET", "/", nil, "Host", "evil.example")
	w.wants(421, "GET", "/", nil, "Host", "localhost:1")
	_, port, _ := net.SplitHostPort(w.server.Listener.Addr().String())
	w.wants(421, "GET", "/", nil, "Host", "evil.example:"+port) // a name that was made to lead here
	w.wants(200, "GET", "/", nil, "Host", "localhost:"+port)
	w.wants(400, "POST", "/submit", url.Values{"key": {"short"}, "title": {"A story"}})
	w.wants(400, "POST", "/submit", url.Values{"key": {"0123456789abcdef"}, "title": {"ab"}})
	w.wants(400, "POST", "/submit", url.Values{"key": {"0123456789abcdef"}, "title": {"A story\x00"}})
	w.wants(400, "POST", "/submit", url.Values{"key": {"0123456789abcdef"}, "title": {"A \xff story"}})
	w.wants(400, "POST", "/submit", url.Values{"key": {"0123456789abcdef"}, "title": {strings.Repeat("x", page.MaxTitle+1)}})
	w.wants(400, "POST", "/submit", url.Values{"key": {"0123456789abcdef"}, "title": {"A story"}, "link": {"javascript:alert(1)"}})
	w.wants(413, "POST", "/submit", url.Values{"key": {"0123456789abcdef"}, "title": {"A story"}, "text": {strings.Repeat("x", 1<<20)}})
	w.wants(414, "GET", "/search?q="+strings.Repeat("x", 3000), nil)
	w.wants(404, "POST", "/s/1/reply/0", url.Values{"key": {"0123456789abcdef"}, "text": {"nowhere"}})
	for _, path := range []string{"/s/0", "/s/x", "/s/99999999999", "/u/nobody", "/u/" + url.PathEscape(hostile), "/nowhere", "/assets/0/secret", "/tag/x"} {
		if _, body := w.wants(404, "GET", path, nil); strings.Contains(body, "<script>") {
			t.Errorf("%s: %s", path, body)
		}
	}
	w.wants(404, "POST", "/ops/kill", url.Values{"pid": {"1"}})
	w.wants(400, "POST", "/register", url.Values{"name": {"a b"}, "password": {"long enough"}})
	w.wants(400, "POST", "/register", url.Values{"name": {"eve"}, "password": {"short"}})
	w.wants(400, "POST", "/register", url.Values{"name": {"ada"}, "password": {"long enough"}})
	w.wants(303, "POST", "/submit", post)
}

// Answers to answers, deeper than a page nests, are all on the page; and so are those that say
// that they answer a later one, as no site would write them.
func TestSite_DeepAndOddTrees(t *testing.T) {
	w := newWorld(t)
	hash := page.Password{Salt: []byte{1}, Hash: []byte{2}, Rounds: 1}
	if err := w.store.LoadUsers([]page.NewUser{{Name: "ada", Password: hash}, {Name: hostile, Password: hash}}); err != nil {
		t.Fatal(err)
	}
	list := make([]page.NewComment, 600)
	for i := range list {
		list[i] = page.NewComment{Author: "ada", Parent: i, Text: hostile}
	}
	list[598].Parent, list[597].Author = 600, hostile
	if err := w.store.LoadStory(page.Story{Title: "Deep", Author: hostile}, list); err != nil {
		t.Fatal(err)
	}
	_, body := w.wants(200, "GET", "/s/1", nil)
	if n := strings.Count(body, `<li id="c`); n != len(list) {
		t.Errorf("the page has %d comments, want %d", n, len(list))
	}
	if strings.Contains(body, "<script>") {
		t.Error("a text is not escaped")
	}
	depth, most := 0, 0
	for _, tag := range regexp.MustCompile(`</?(ol|li|details)\b`).FindAllString(body, -1) {
		if tag[1] == '/' {
			depth--
		} else {
			depth++
		}
		most = max(most, depth)
	}
	if depth != 0 || most > 200 {
		t.Errorf("the page nests %d elements, and %d are not closed", most, depth)
	}
}

// A page that is open gets what others write, and what came before it connected.
func TestSite_LivePages(t *testing.T) {
	w := newWorld(t)
	w.register("ada")
	story, _ := w.wants(303, "POST", "/submit", url.Values{"key": {"0123456789abcdef"}, "title": {"A story"}})
	comment := func(i int) {
		w.wants(303, "POST", story+"/reply/0", url.Values{"key": {fmt.Sprintf("0123456789abcdef-%d", i)}, "text": {fmt.Sprintf("line one\nof comment <%d>", i)}})
	}
	comment(1)
	comment(2)
	address := w.server.Listener.Addr().String()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s/live?after=1 HTTP/1.1\r\nHost: %s\r\n\r\n", story, address)
	lines := bufio.NewScanner(conn)
	until := func(want string) {
		for lines.Scan() {
			if strings.Contains(lines.Text(), want) {
				return
			}
			if lines.Text() == "id: 1" {
				t.Error("the stream repeats what the page has")
			}
			if strings.Contains(lines.Text(), "comment <") {
				t.Errorf("a text is not escaped: %s", lines.Text())
			}
		}
		t.Fatalf("the stream ends without %q: %v", want, lines.Err())
	}
	until("id: 2")
	until("data: of comment &lt;2>")
	comment(3)
	until("id: 3")
	until("data: of comment &lt;3>")
}
