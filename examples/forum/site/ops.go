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
	"time"

	"github.com/everheap/everheap/examples/forum/page"
)

// beat tells the store each second that this server is there, until ctx ends.
func (s *Site) beat(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, then := uint64(0), s.started
	for {
		n, now := s.requests.Load(), time.Now()
		rate := 0.0
		if took := now.Sub(then).Seconds(); took > 0.1 {
			rate = float64(n-last) / took
		}
		err := s.store.Beat(page.Server{PID: os.Getpid(), Started: s.started, Requests: n, Rate: rate, Memory: ownMemory()})
		if errors.Is(err, page.ErrOutdated) {
			s.Drain()
			return
		}
		if err != nil {
			log.Printf("telling that this server is there: %v", err)
		}
		last, then = n, now
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
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
	size, err := q.site.store.Size()
	return Ops{servers, size, os.Getpid()}, err
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
	servers, err := q.site.store.Servers()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(servers, func(s page.Server) bool { return s.PID == int(pid) }) {
		return tell(http.StatusConflict, "There is no server with that number (any more).")
	}
	q.after = func() {
		if err := q.site.opt.Kill(int(pid)); err != nil {
			log.Printf("killing %d: %v", pid, err)
		}
	}
	return q.redirect("/ops")
}
