package site

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/everheap/everheap/examples/forum/page"
)

// hub is the one watcher of this process: it passes what changes on to the pages that are
// open. A client that does not take its events is dropped: its browser connects anew and
// says what it has, so it misses nothing.
type hub struct {
	site *Site
	mu   struct {
		sync.Mutex
		clients map[*client]bool
	}
}

// client is an open page. Story 0 is the front page.
type client struct {
	story  uint32
	sent   int // comments that the page has
	events chan string
}

// backlog is how many events a client may be behind; most is how many clients a
// process serves.
const (
	backlog    = 64
	mostClient = 2000
)

func newHub(s *Site) *hub {
	h := &hub{site: s}
	h.mu.clients = map[*client]bool{}
	return h
}

// run passes changes on until ctx ends.
func (h *hub) run(ctx context.Context) {
	for ctx.Err() == nil {
		for change, err := range h.site.store.Watch(ctx) {
			if err != nil {
				if errors.Is(err, page.ErrOutdated) {
					h.site.Drain()
					return
				}
				if ctx.Err() == nil {
					log.Printf("watching: %v", err)
				}
				break
			}
			h.pass(change)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second): // not to watch in vain too often
		}
	}
	h.end()
}

// pass tells the open pages of a change.
func (h *hub) pass(c page.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var front string
	for to := range h.mu.clients {
		switch {
		case to.story == 0:
			if front == "" {
				front = h.frontEvent(c)
			}
			h.send(to, front)
		case to.story == c.Story:
			h.send(to, event("points", "", strconv.Itoa(c.Points)))
			if c.Comments > to.sent {
				events, n, err := h.news(c.Story, to.sent)
				if err != nil {
					log.Printf("news of story %d: %v", c.Story, err)
					continue
				}
				if h.send(to, events) {
					to.sent = n
				}
			}
		}
	}
}

// send gives a client events, or drops it. It runs with the lock held.
func (h *hub) send(to *client, events string) bool {
	select {
	case to.events <- events:
		return true
	default:
		delete(h.mu.clients, to)
		close(to.events)
		return false
	}
}

// end ends all streams: browsers connect to another server.
func (h *hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.mu.clients {
		close(c.events)
	}
	h.mu.clients = nil
}

// frontEvent tells the front page of a change.
func (h *hub) frontEvent(c page.Change) string {
	if !c.New {
		return event("counts", "", fmt.Sprintf(`{"story":%d,"comments":%d,"points":%d}`, c.Story, c.Comments, c.Points))
	}
	b := newBuffer()
	defer b.release()
	err := h.site.store.Story(c.Story, c.Comments, func(s *page.Story, _ []page.Comment) error {
		b.story(s)
		return nil
	})
	if err != nil {
		return ":\n\n"
	}
	return event("story", "", string(b.b))
}

// news makes events of the comments of a story after the first ones.
func (h *hub) news(story uint32, after int) (events string, n int, err error) {
	b, n := newBuffer(), after
	defer b.release()
	err = h.site.store.Story(story, after, func(s *page.Story, comments []page.Comment) error {
		for i := range comments {
			b.b = b.b[:0]
			n++
			b.comment(n, &comments[i], true, abilities{reply: true, story: story})
			b.raw("</li>")
			events += event("comment", strconv.Itoa(n), strconv.Itoa(comments[i].Parent)+" "+string(b.b))
		}
		return nil
	})
	return events, n, err
}

// event makes a server-sent event. A line feed in the data would end it.
func event(name, id, data string) string {
	e := make([]byte, 0, len(data)+64)
	e = append(append(append(e, "event: "...), name...), '\n')
	if id != "" {
		e = append(append(append(e, "id: "...), id...), '\n')
	}
	e = append(e, "data: "...)
	for i := range len(data) {
		switch data[i] {
		case '\n':
			e = append(e, "\ndata: "...)
		case '\r':
		default:
			e = append(e, data[i])
		}
	}
	return string(append(e, "\n\n"...))
}

// join makes an open page a client. What came between the page and now is sent first.
func (h *hub) join(story uint32, after int) (*client, error) {
	c := &client{story: story, sent: after, events: make(chan string, backlog)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mu.clients == nil || len(h.mu.clients) >= mostClient {
		return nil, tell(http.StatusServiceUnavailable, "too many pages are open")
	}
	// With the lock held nothing is passed on: what is committed later comes by pass.
	if story != 0 {
		events, n, err := h.news(story, after)
		if err != nil {
			return nil, err
		}
		if c.sent = n; events != "" {
			c.events <- events
		}
	}
	h.mu.clients[c] = true
	return c, nil
}

func (h *hub) leave(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.mu.clients, c)
}

// serveLive streams what changes to an open page.
func (s *Site) serveLive(w http.ResponseWriter, r *http.Request) {
	var story uint32
	after := 0
	if id := r.PathValue("id"); id != "" {
		var err error
		if story, err = number(id, 1<<32-1); err != nil || story == 0 {
			http.NotFound(w, r)
			return
		}
		from := r.Header.Get("Last-Event-ID") // when the browser comes back
		if from == "" {
			from = r.FormValue("after")
		}
		n, _ := number(from, 1<<31-1)
		after = int(n)
	}
	c, err := s.live.join(story, after)
	if err != nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	defer s.live.leave(c)
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	write := func(text string) bool {
		out.SetWriteDeadline(time.Now().Add(10 * time.Second)) // a client that takes nothing is dropped
		_, err := w.Write([]byte(text))
		return err == nil && out.Flush() == nil
	}
	if !write("retry: 300\n\n") {
		return
	}
	alive := time.NewTicker(20 * time.Second)
	defer alive.Stop()
	for {
		select {
		case e, ok := <-c.events:
			if !ok || !write(e) {
				return
			}
		case <-alive.C:
			if !write(":\n\n") {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
