package inspect

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/spacetest"
)

// Malformed requests get an error, and the server continues.
func TestServer_SurvivesBadRequests(t *testing.T) {
	s := serve(t, true)
	m, err := everheap.OpenMap[string, string](s.space, "m")
	spacetest.Must(t, err)
	for _, path := range []string{
		"/api/rows", "/api/rows?space=here", "/api/rows?space=here&id=zz", "/api/rows?space=here&id=ffffffffffffffff", "/api/rows?space=there",
		"/api/rows?space=here&id=" + id(m.ID()) + "&count=501", "/api/rows?space=here&id=" + id(m.ID()) + "&from=-1", "/api/rows?space=here&space=here",
		"/api/rows?space=here&id=" + id(m.ID()) + "&at=nowhere", "/api/value?space=here&id=" + id(m.ID()) + "&key=1", "/api/value?space=here&id=" + id(m.ID()) + "&key=%7B",
		"/api/value?space=here&id=" + id(m.ID()), "/api/rows?" + strings.Repeat("a=b&", 1000), "/api/changes?space=here", "/api/changes?space=here&at=nowhere",
		"/api/backup?space=here&from=1", "/api/backup", "/api/live", "/api/live?space=there", "/api/types?space=here&id=0000000000000009", "/api/rows?%zz",
		"/api/rows?space=here&id=0000000000000000", "/api/rows?space=here&id=0000000000000001", "/api/form?space=here&id=0000000000000002",
	} {
		if w := s.send("GET", path, "", nil); w.Code < 400 || w.Code == 500 && strings.Contains(w.Body.String(), "inspector failed") || !strings.HasPrefix(w.Body.String(), `{"error":`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	for _, body := range []string{"", "{", "[]", "null", `{"space":"there"}`, `{"space":"here","id":1}`, `{"space":"here","unknown":1}`, `{"space":"here","id":"ffffffffffffffff","key":"1","value":"{"}`,
		`{"space":"here","id":"` + id(m.ID()) + `","key":"\"a\"","value":"` + strings.Repeat("[", 100_000) + `"}`, strings.Repeat("[", 1_000_000), `{"space":"here","value":"` + strings.Repeat("a", mostBody) + `"}`} {
		for _, path := range []string{"set", "delete", "start", "drop", "restore"} {
			if w := s.send("POST", "/api/"+path, body, nil); w.Code < 400 || strings.Contains(w.Body.String(), "inspector failed") {
				t.Errorf("%s %.40s: %d %.200s", path, body, w.Code, w.Body)
			}
		}
	}
	if n, err := m.Len(s.space); n != 0 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
}

// IN2: a client that requests much and reads nothing holds no version, and the server serves other
// clients meanwhile.
func TestServer_SlowClientHoldsNothing(t *testing.T) {
	s := serve(t, false)
	m, err := everheap.OpenMap[string, string](s.space, "m")
	spacetest.Must(t, err)
	spacetest.Must(t, m.Set(s.space, "large", strings.Repeat("x", 8<<20)))
	l, err := Listen("127.0.0.1:0")
	spacetest.Must(t, err)
	ctx, end := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, l) }()
	defer func() { end(); spacetest.Must(t, <-served) }()
	ask := func(path string) net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		spacetest.Must(t, err)
		_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", path, l.Addr(), s.token)
		spacetest.Must(t, err)
		return c
	}
	for _, path := range []string{"/api/value?space=here&id=" + id(m.ID()) + "&key=%22large%22", "/api/live?space=here"} {
		c := ask(path)
		defer c.Close()
		line, err := bufio.NewReaderSize(c, 16).ReadString('\n') // the server is sending the answer, and the client reads no more of it
		if err != nil || !strings.Contains(line, "200") {
			t.Fatal(line, err)
		}
	}
	spacetest.Must(t, m.Set(s.space, "large", "small"))
	for deadline := time.Now().Add(time.Minute); ; {
		readers, err := s.space.Readers()
		spacetest.Must(t, err)
		if len(readers) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("a version is held: %+v", readers)
		}
	}
	c := ask("/api/spaces")
	defer c.Close()
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	spacetest.Must(t, err)
	body, err := io.ReadAll(io.LimitReader(r.Body, 20))
	if err != nil || r.StatusCode != 200 {
		t.Errorf("another client gets %d %s, %v", r.StatusCode, body, err)
	}
}

// The server makes a backup first, and then sends it; the downloaded file can be restored.
func TestWork_Runs(t *testing.T) {
	s := serve(t, true)
	m, err := everheap.OpenMap[string, string](s.space, "m")
	spacetest.Must(t, err)
	spacetest.Must(t, m.Set(s.space, "a", "b"))
	for _, kind := range []string{"check", "collect", "compact", "backup"} {
		var started struct{ ID int }
		if code := s.post(&started, "start", change{Kind: kind}); code != 200 {
			t.Fatal(kind, code)
		}
		for s.work.busy("here") {
			time.Sleep(time.Millisecond)
		}
		done := s.work.list("here")[0]
		if !done.OK || done.Kind != kind || done.Result == nil {
			t.Errorf("%s: %+v", kind, done)
		}
		if kind == "backup" {
			w := s.send("GET", fmt.Sprintf("/api/backup?space=here&from=%d", started.ID), "", nil)
			if w.Code != 200 {
				t.Fatal(w.Code, w.Body)
			}
			dir := t.TempDir() + "/again"
			spacetest.Must(t, everheap.RestoreBackup(dir, w.Body))
			again, err := everheap.Open(dir)
			spacetest.Must(t, err)
			of, err := everheap.OpenMap[string, string](again, "m")
			spacetest.Must(t, err)
			if v, err := of.Get(again, "a"); v != "b" || err != nil {
				t.Errorf("restored is %q, %v", v, err)
			}
			spacetest.Must(t, again.Close())
		}
	}
}
