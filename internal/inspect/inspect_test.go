package inspect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// person is the value type of the tests.
type person struct {
	Name string
	Age  int
	Best everheap.Ref[string]
}

// served is a server and its space. Tests call its handler without a network.
type served struct {
	t     *testing.T
	space *everheap.Space
	*Server
}

// serve makes a server of one space, which the test has open, too.
func serve(t *testing.T, write bool) *served {
	t.Helper()
	s := spacetest.Scratch(t)
	dir := s.Stats().Dir
	server, err := New(Options{Write: write, Sources: []Source{{Name: "here", Open: func() (*everheap.Space, error) {
		return everheap.Open(dir) // in the mode of the test: a process has a space open in one mode only
	}}}})
	spacetest.Must(t, err)
	server.port = "1"
	t.Cleanup(func() { spacetest.Must(t, server.Close()) })
	return &served{t, s, server}
}

// send sends a request, as the page does; change may change it first.
func (s *served) send(method, path, body string, change func(r *http.Request)) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "127.0.0.1:1"
	r.Header.Set("Content-Type", "application/json")
	r.AddCookie(&http.Cookie{Name: s.cookie(), Value: s.session})
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, r)
	return w
}

// get sends a GET request, and reads the answer into v.
func (s *served) get(v any, path string, params ...string) int {
	s.t.Helper()
	q := url.Values{"space": {"here"}}
	for i := 0; i < len(params); i += 2 {
		q.Set(params[i], params[i+1])
	}
	w := s.send("GET", "/api/"+path+"?"+q.Encode(), "", nil)
	if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
		s.t.Fatalf("%s: %v: %s", path, err, w.Body)
	}
	return w.Code
}

// post sends a POST request, and reads the answer into v.
func (s *served) post(v any, path string, c change) int {
	s.t.Helper()
	c.Space = "here"
	body, err := json.Marshal(c)
	spacetest.Must(s.t, err)
	w := s.send("POST", "/api/"+path, string(body), nil)
	if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
		s.t.Fatalf("%s: %v: %s", path, err, w.Body)
	}
	return w.Code
}

func id(c everheap.ID) string { return fmt.Sprintf("%016x", uint64(c)) }

// IN1: the server refuses a request without the token, and a request that does not come from the
// page.
func TestGuard_RefusesOthers(t *testing.T) {
	s := serve(t, true)
	header := func(k, v string) func(r *http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	for name, c := range map[string]struct {
		method, path string
		change       func(r *http.Request)
		want         int
	}{
		"the page":        {"GET", "/", nil, 200},
		"its script":      {"GET", "/app.js", nil, 200},
		"an answer":       {"GET", "/api/spaces", nil, 200},
		"metrics":         {"GET", "/metrics", nil, 200},
		"metrics, others": {"GET", "/metrics", func(r *http.Request) { r.Header.Del("Cookie") }, 401},
		"no cookie":       {"GET", "/api/spaces", func(r *http.Request) { r.Header.Del("Cookie") }, 401},
		"no cookie, page": {"GET", "/", func(r *http.Request) { r.Header.Del("Cookie") }, 401},
		"wrong cookie":    {"GET", "/api/spaces", header("Cookie", s.cookie()+"="+s.token), 401},
		"bearer":          {"GET", "/api/spaces", func(r *http.Request) { r.Header.Del("Cookie"); r.Header.Set("Authorization", "Bearer "+s.token) }, 200},
		"wrong bearer":    {"GET", "/api/spaces", header("Authorization", "Bearer "+s.session), 401},
		"token":           {"GET", "/?token=" + s.token, func(r *http.Request) { r.Header.Del("Cookie") }, 200},
		"token from a link": {"GET", "/?token=" + s.token, func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Mode", "navigate")
		}, 200},
		"token in a frame": {"GET", "/?token=" + s.token, func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Mode", "no-cors")
		}, 403},
		"wrong token":    {"GET", "/?token=0", nil, 403},
		"no token":       {"GET", "/?token=", nil, 403},
		"rebound":        {"GET", "/api/spaces", func(r *http.Request) { r.Host = "evil.example:1" }, 421},
		"its end":        {"GET", "/api/spaces", func(r *http.Request) { r.Host = "127.0.0.1:1.evil.example" }, 421},
		"no port":        {"GET", "/api/spaces", func(r *http.Request) { r.Host = "127.0.0.1" }, 421},
		"localhost":      {"GET", "/api/spaces", func(r *http.Request) { r.Host = "localhost:1" }, 200},
		"ipv6":           {"GET", "/api/spaces", func(r *http.Request) { r.Host = "[::1]:1" }, 200},
		"origin":         {"GET", "/api/spaces", header("Origin", "http://127.0.0.1:1"), 200},
		"other port":     {"GET", "/api/spaces", header("Origin", "http://127.0.0.1:2"), 403},
		"other scheme":   {"GET", "/api/spaces", header("Origin", "https://127.0.0.1:1"), 403},
		"null":           {"GET", "/api/spaces", header("Origin", "null"), 403},
		"other site":     {"POST", "/api/set", header("Sec-Fetch-Site", "cross-site"), 403},
		"same site":      {"POST", "/api/set", header("Sec-Fetch-Site", "same-site"), 403},
		"form":           {"POST", "/api/set", header("Content-Type", "text/plain"), 415},
		"get that sets":  {"GET", "/api/set", nil, 404},
		"another method": {"DELETE", "/api/set", nil, 405},
		"up":             {"GET", "/../inspect.go", nil, 307},
		"nothing there":  {"GET", "/inspect.go", nil, 404},
	} {
		w := s.send(c.method, c.path, "", c.change)
		if w.Code != c.want {
			t.Errorf("%s: %d, not %d: %s", name, w.Code, c.want, w.Body)
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; script-src 'self';") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: the policy is %q", name, policy)
		}
	}
	w := s.send("GET", "/?token="+s.token, "", nil)
	if c := w.Result().Cookies(); len(c) != 1 || !c[0].HttpOnly || c[0].SameSite != http.SameSiteStrictMode || c[0].Value != s.session {
		t.Errorf("the cookie is %v", c)
	}
	if s.token == s.session || len(s.token) < 32 {
		t.Error("the secrets are not random")
	}
}

// Listen refuses addresses that other machines can reach.
func TestListen_RefusesOtherAddresses(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.com:0", "127.0.0.1", "10.0.0.1:80"} {
		if l, err := Listen(address); err == nil {
			t.Errorf("%s was listened at", address)
			l.Close()
		}
	}
	l, err := Listen("127.0.0.1:0")
	spacetest.Must(t, err)
	if ip := l.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
		t.Errorf("it listens at %v", ip)
	}
	spacetest.Must(t, l.Close())
}

// The rows of collections of each kind: in order, in parts, and by a filter.
func TestRows_OfEachKind(t *testing.T) {
	s := serve(t, false)
	m, err := everheap.OpenMap[int64, string](s.space, "m")
	spacetest.Must(t, err)
	sorted, err := everheap.OpenSorted[string, int](s.space, "s")
	spacetest.Must(t, err)
	list, err := everheap.OpenList[string](s.space, "l")
	spacetest.Must(t, err)
	ref, err := everheap.OpenRef(s.space, "r", "one")
	spacetest.Must(t, err)
	names, err := everheap.OpenMap[string, int](s.space, "names")
	spacetest.Must(t, err)
	spacetest.Must(t, s.space.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range 1000 {
			if err := m.Set(tx, int64(i-500), fmt.Sprint(i)); err != nil {
				return err
			}
			if err := sorted.Set(tx, fmt.Sprintf("k%04d", i), i); err != nil {
				return err
			}
			if err := list.Append(tx, fmt.Sprint(i)); err != nil {
				return err
			}
		}
		for _, n := range []string{"Ada", "ada", "ADAM", "Nevada", "adamant", "a\nb", `q"q`, "zoë", ""} {
			if err := names.Set(tx, n, len(n)); err != nil {
				return err
			}
		}
		return nil
	}))
	keys := func(of everheap.ID, params ...string) (list []string, total int) {
		var a rowsAnswer
		for {
			a = rowsAnswer{}
			if code := s.get(&a, "rows", append([]string{"id", id(of)}, params...)...); code != 200 {
				t.Fatalf("%v: %d", params, code)
			}
			if a.Making == 0 {
				break
			}
		}
		for _, r := range a.Rows {
			list = append(list, r.Key)
		}
		return list, a.Total
	}
	for name, c := range map[string]struct {
		of     everheap.ID
		params []string
		want   string
		total  int
	}{
		"numbers in order":   {m.ID(), []string{"count", "3"}, "-500,-499,-498", 1000},
		"from the middle":    {m.ID(), []string{"from", "499", "count", "3"}, "-1,0,1", 1000},
		"the end":            {m.ID(), []string{"from", "998"}, "498,499", 1000},
		"behind the end":     {m.ID(), []string{"from", "5000"}, "", 1000},
		"found numbers":      {m.ID(), []string{"filter", "99", "count", "3"}, "99,-499,-399", 10},
		"sorted":             {sorted.ID(), []string{"from", "10", "count", "2"}, `"k0010","k0011"`, 1000},
		"sorted, found":      {sorted.ID(), []string{"filter", "0999"}, `"k0999"`, 1},
		"list":               {list.ID(), []string{"from", "998"}, "998,999", 1000},
		"single":             {ref.ID(), nil, "", 1},
		"whole, begin, rest": {names.ID(), []string{"filter", "ada"}, `"Ada","ada","ADAM","adamant","Nevada"`, 5},
		"escaped":            {names.ID(), []string{"filter", "a\nb"}, `"a\nb"`, 1},
		"a quote":            {names.ID(), []string{"filter", `"`}, `"q\"q"`, 1},
		"not ASCII":          {names.ID(), []string{"filter", "zoë"}, `"zoë"`, 1},
		"none":               {names.ID(), []string{"filter", "ada ada"}, "", 0},
	} {
		got, total := keys(c.of, c.params...)
		if strings.Join(got, ",") != c.want || total != c.total {
			t.Errorf("%s: %q of %d, not %s of %d", name, got, total, c.want, c.total)
		}
	}
}

// IN4: without Options.Write no request changes the space; with it, no request overwrites a value
// that the user has not seen.
func TestChange_OnlyWithWrite(t *testing.T) {
	text := func(s string) *string { return &s }
	for _, write := range []bool{false, true} {
		s := serve(t, write)
		m, err := everheap.OpenMap[string, person](s.space, "m")
		spacetest.Must(t, err)
		spacetest.Must(t, m.Set(s.space, "ada", person{Name: "Ada", Age: 36}))
		var p problem
		set := change{ID: hexID(m.ID()), Key: text(`"ada"`), Value: `{"Name":"Ada","Age":"old"}`, Old: text(`{"Name":"Ada","Age":36,"Best":{"$ref":"0000000000000000"}}`)}
		if !write {
			for _, path := range []string{"set", "delete", "checkpoint", "drop", "restore"} {
				if code := s.post(&p, path, set); code != http.StatusForbidden {
					t.Errorf("%s: %d", path, code)
				}
			}
			for _, kind := range []string{"collect", "compact"} {
				if code := s.post(&p, "start", change{Kind: kind}); code != http.StatusForbidden {
					t.Errorf("%s: %d", kind, code)
				}
			}
			continue
		}
		if code := s.post(&p, "set", set); code != 422 || p.Path != "Age" || p.Part != "value" || p.What == "" {
			t.Errorf("a wrong field: %d, %+v", code, p)
		}
		set.Value = `{"Name":"Ada","Age":37}`
		if code := s.post(&p, "set", set); code != 200 {
			t.Errorf("a right value: %d, %+v", code, p)
		}
		if code := s.post(&p, "set", set); code != 409 || !strings.Contains(p.Current, "37") {
			t.Errorf("a value changed meanwhile: %d, %+v", code, p)
		}
		set.Old = nil
		if code := s.post(&p, "set", set); code != 409 || p.Part != "key" {
			t.Errorf("adding an existing entry: %d, %+v", code, p)
		}
		if v, err := m.Get(s.space, "ada"); err != nil || v.Age != 37 {
			t.Errorf("stored is %+v, %v", v, err)
		}
		if code := s.post(&p, "set", change{ID: hexID(m.ID()), Key: text(`17`), Value: `{}`}); code != 422 || p.Part != "key" {
			t.Errorf("a wrong key: %d, %+v", code, p)
		}
	}
}

// The changes since a checkpoint, by key, and the rows of a checkpoint.
func TestChanges_ByKey(t *testing.T) {
	s := serve(t, true)
	m, err := everheap.OpenMap[string, int](s.space, "m")
	spacetest.Must(t, err)
	spacetest.Must(t, s.space.Update(context.Background(), func(tx *everheap.Tx) error {
		for i := range 100 {
			if err := m.Set(tx, fmt.Sprint(i), i); err != nil {
				return err
			}
		}
		return nil
	}))
	var none any
	if code := s.post(&none, "checkpoint", change{Name: "then"}); code != 200 {
		t.Fatal(code, none)
	}
	spacetest.Must(t, m.Set(s.space, "new", 1))
	spacetest.Must(t, m.Set(s.space, "7", 70))
	_, err = m.Delete(s.space, "8")
	spacetest.Must(t, err)
	var a struct{ List []compared }
	if code := s.get(&a, "changes", "at", "then", "id", id(m.ID())); code != 200 || len(a.List) != 1 {
		t.Fatal(code, a)
	}
	c := a.List[0]
	if c.Added != 1 || c.Changed != 1 || c.Removed != 1 || len(c.List) != 3 || c.State != "changed" {
		t.Errorf("changed is %+v", c)
	}
	for _, e := range c.List {
		if want := map[string][2]string{`"new"`: {"", "1"}, `"7"`: {"7", "70"}, `"8"`: {"8", ""}}[e.Key]; want != [2]string{e.Was, e.Now} {
			t.Errorf("%s was %s, is %s", e.Key, e.Was, e.Now)
		}
	}
	var r rowsAnswer
	if s.get(&r, "rows", "id", id(m.ID()), "at", "then", "filter", "8"); len(r.Rows) == 0 || r.Rows[0].Key != `"8"` {
		t.Errorf("the checkpoint has %+v", r)
	}
	if code := s.post(&none, "restore", change{Name: "then"}); code != 200 {
		t.Fatal(code, none)
	}
	if n, err := m.Len(s.space); err != nil || n != 100 {
		t.Errorf("restored are %d entries: %v", n, err)
	}
}

// The bytes in the picture of the heap add up, with those that each keeper keeps.
func TestHeap_AddsUp(t *testing.T) {
	s := serve(t, true)
	m, err := everheap.OpenMap[int, []byte](s.space, "m")
	spacetest.Must(t, err)
	fill := func(b byte) {
		spacetest.Must(t, s.space.Update(context.Background(), func(tx *everheap.Tx) error {
			for i := range 200 {
				if err := m.Set(tx, i, bytes.Repeat([]byte{b}, 3000)); err != nil {
					return err
				}
			}
			return m.Set(tx, 1000, bytes.Repeat([]byte{b}, 300_000))
		}))
	}
	fill(1)
	spacetest.Must(t, s.space.Checkpoint("then"))
	fill(2)
	var p picture
	if code := s.get(&p, "heap"); code != 200 {
		t.Fatal(code)
	}
	if live := s.space.Stats().Live; p.Keepers[0].Bytes != live {
		t.Errorf("the newest version reaches %d bytes, and not %d", p.Keepers[0].Bytes, live)
	}
	if len(p.Keepers) < 2 || p.Keepers[1].Name != "then" || p.Keepers[1].Bytes < 900_000 {
		t.Errorf("the keepers are %+v", p.Keepers)
	}
	list, err := s.space.Checkpoints()
	spacetest.Must(t, err)
	if list[0].Exclusive > p.Keepers[1].Bytes {
		t.Errorf("the checkpoint keeps %d bytes, and not %d", list[0].Exclusive, p.Keepers[1].Bytes)
	}
}

// IN5: the server repeats a walk only after many times as long as it took. Until then it gives the
// last answer, and marks a list of keys that is older than the collection.
func TestPace_Holds(t *testing.T) {
	s := serve(t, false)
	m, err := everheap.OpenMap[string, int](s.space, "m")
	spacetest.Must(t, err)
	spacetest.Must(t, m.Set(s.space, "one", 1))
	var first, second picture
	s.get(&first, "heap")
	s.spaces[0].drawn.took = time.Hour
	var times struct{ List []checkpoint }
	spacetest.Must(t, s.space.Checkpoint("a"))
	s.get(&times, "checkpoints")
	s.spaces[0].kept.took = time.Hour
	spacetest.Must(t, s.space.Checkpoint("b"))
	if s.get(&times, "checkpoints"); len(times.List) != 2 || times.List[0].Exclusive == nil || times.List[1].Exclusive != nil {
		t.Errorf("the bytes of checkpoints were counted again: %+v", times.List)
	}
	var rows rowsAnswer
	for rows = (rowsAnswer{Making: 1}); rows.Making > 0; {
		rows = rowsAnswer{}
		s.get(&rows, "rows", "id", id(m.ID()))
	}
	s.spaces[0].keys.lists[keysOf{id: m.ID()}].took = time.Hour
	spacetest.Must(t, m.Set(s.space, "two", 2))
	if s.get(&second, "heap"); second.Version != first.Version {
		t.Errorf("the picture is of version %d, and was of %d a moment ago", second.Version, first.Version)
	}
	rows = rowsAnswer{}
	if s.get(&rows, "rows", "id", id(m.ID())); !rows.Stale || rows.Total != 1 || rows.Len != 2 {
		t.Errorf("the rows are %+v", rows)
	}
	rows = rowsAnswer{} // a whole key is found nevertheless
	if s.get(&rows, "rows", "id", id(m.ID()), "filter", "two"); len(rows.Rows) != 1 || rows.Rows[0].Key != `"two"` || rows.Rows[0].Text != "2" {
		t.Errorf("the new key is %+v", rows)
	}
	s.spaces[0].keys.lists[keysOf{id: m.ID()}].took = 0
	for rows.Total != 2 || rows.Stale {
		rows = rowsAnswer{}
		s.get(&rows, "rows", "id", id(m.ID()))
	}
}

// The vendored library has the files of its version, byte for byte.
func TestVendor_IsWhatItSays(t *testing.T) {
	b, err := os.ReadFile("page/vendor/VERSIONS")
	spacetest.Must(t, err)
	files := 0
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		if len(words) != 2 || strings.HasPrefix(line, "#") {
			continue
		}
		files++
		text, err := os.ReadFile("page/vendor/" + words[1])
		spacetest.Must(t, err)
		if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != words[0] {
			t.Errorf("%s is not what was published: its hash is %x", words[1], sum)
		}
	}
	list, err := os.ReadDir("page/vendor")
	spacetest.Must(t, err)
	if files != len(list)-1 {
		t.Errorf("the version file names %d of %d files", files, len(list)-1)
	}
}

// The page makes no markup from texts, and loads nothing from other hosts (IN3).
func TestPage_MakesNoMarkup(t *testing.T) {
	list, err := os.ReadDir("page")
	spacetest.Must(t, err)
	for _, f := range list {
		if f.IsDir() || f.Name() == "icon.svg" {
			continue
		}
		b, err := os.ReadFile("page/" + f.Name())
		spacetest.Must(t, err)
		for _, word := range []string{"innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "new Function", "https://", "//cdn", " style=\"", "onclick=\""} {
			if strings.Contains(string(b), word) {
				t.Errorf("%s has %q", f.Name(), word)
			}
		}
		if strings.Contains(strings.ReplaceAll(string(b), "http://www.w3.org/", ""), "http://") {
			t.Errorf("%s has an address of somebody else", f.Name())
		}
	}
}

// FuzzParseQuery: any text is a query within the limits, or an error.
func FuzzParseQuery(f *testing.F) {
	for _, q := range []string{"space=a&id=0000000000000001&from=1&count=2", "key=%22a%22&at=b", "filter=%ff", "from=-1", "id=1", "a=b", "key={", "%", "space=a&space=b", "count=99999999999999999999"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw)
		if err != nil {
			if problemOf(err).status != http.StatusBadRequest {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		if q.from < 0 || q.count < 1 || q.count > mostRows || len(q.filter) > mostFilter || len(q.key) > mostKey || q.key != nil && !json.Valid(q.key) {
			t.Errorf("%q became %+v", raw, q)
		}
	})
}

// The server has the metrics of the space, with its name, as text for Prometheus.
func TestMetrics(t *testing.T) { // IN5
	s := serve(t, false)
	spacetest.MapOf[string, int](t, s.space)
	w := s.send("GET", "/metrics", "", nil)
	for _, want := range []string{"# TYPE everheap_up gauge\neverheap_up{space=", "\n# TYPE everheap_versions_total counter\n", `collection="`, fmt.Sprintf("} %d\n", s.space.Stats().Version)} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the metrics lack %q: %s", want, w.Body)
		}
	}
	s.spaces[0].measured.took = time.Hour
	if again := s.send("GET", "/metrics", "", nil); again.Body.String() != w.Body.String() {
		t.Error("slow metrics are measured again at once")
	}
}

func TestCheckToken(t *testing.T) {
	for token, ok := range map[string]bool{"0123456789abcdef": true, "short": false, strings.Repeat("a", 257): false, "0123456789abcde/": false, "0123456789 abcdef": false} {
		if err := CheckToken(token); (err == nil) != ok {
			t.Errorf("%q: %v", token, err)
		}
	}
}
