package site

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/everheap/everheap/examples/forum/page"
)

// Announce tells the store that this server is there. It is called before the server serves, so
// that the page of the servers never lacks one; Run goes on with it.
func (s *Site) Announce() error { return s.tell(0) }

func (s *Site) tell(rate float64) error {
	return s.store.Beat(page.Server{PID: os.Getpid(), Started: s.started, Requests: s.requests.Load(), Rate: rate, Memory: ownMemory()})
}

// beat tells the store each second that this server is there, until ctx ends.
func (s *Site) beat(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, then := s.requests.Load(), time.Now()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		n, now := s.requests.Load(), time.Now()
		err := s.tell(float64(n-last) / now.Sub(then).Seconds())
		if errors.Is(err, page.ErrOutdated) {
			s.Drain()
			return
		}
		if err != nil {
			log.Printf("telling that this server is there: %v", err)
		}
		last, then = n, now
	}
}

// ownMemory returns how many bytes of memory this process has for itself; 0 if the system
// does not tell.
func ownMemory() uint64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// Ops is what the page of the servers shows.
type Ops struct {
	Servers []page.Server
	Size    page.Size
	Self    int // the process that answers
}

func (q *request) look() (Ops, error) {
	servers, err := q.site.store.Servers()
	if err != nil {
		return Ops{}, err
	}
	// One that was killed is told by the store for a moment longer.
	servers = slices.DeleteFunc(servers, func(s page.Server) bool { return !runs(s.PID) })
	size, err := q.site.store.Size()
	return Ops{servers, size, os.Getpid()}, err
}

// runs reports whether there is a process with a number. All servers are on one machine.
func runs(pid int) bool {
	p, err := os.FindProcess(pid)
	return err == nil && p.Signal(syscall.Signal(0)) == nil
}

// ops shows the servers.
func (q *request) ops() error {
	o, err := q.look()
	if err != nil {
		return err
	}
	sum := 0.0
	most := 1.0
	for _, s := range o.Servers {
		sum += s.Rate
		most = max(most, s.Rate)
	}
	return q.template("ops", "The servers", map[string]any{"Ops": o, "Sum": sum, "Most": most, "Kill": q.site.opt.Kill != nil, "Now": time.Now()})
}

// opsJSON tells the same to programs.
func (q *request) opsJSON() error {
	o, err := q.look()
	if err != nil {
		return err
	}
	q.header.Set("Content-Type", "application/json")
	return json.NewEncoder(q.out).Encode(o)
}

// kill kills a server, this one perhaps: so the answer comes first.
func (q *request) kill() error {
	if q.site.opt.Kill == nil {
		return page.ErrNone
	}
	pid, err := number(q.PostFormValue("pid"), 1<<31-1)
	if err != nil {
		return err
	}
	o, err := q.look()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(o.Servers, func(s page.Server) bool { return s.PID == int(pid) }) {
		return tell(http.StatusConflict, "There is no server with that number (any more).")
	}
	q.after = func() {
		if err := q.site.opt.Kill(int(pid)); err != nil {
			log.Printf("killing %d: %v", pid, err)
		}
	}
	return q.redirect("/ops")
}
