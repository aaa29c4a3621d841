package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/everheap/everheap"
	"github.com/everheap/everheap/internal/inside"
	"github.com/everheap/everheap/internal/upkeep"
)

// The page learns of changes by a stream of events, and does not poll. So it learns of a new version
// at once, the server examines the space once for all open pages, and not at all while no page is
// open or visible (a hidden page ends its stream). A pulse makes the events of a space. Each reader
// has at most the last event of each kind to read: a slow reader skips events, and delays no other.

// The times of a pulse.
const (
	beat    = 200 * time.Millisecond // between two readings of the version
	sampled = time.Second            // between samples
	history = 300                    // samples kept
	settled = 2 * time.Second        // a reader must be older than this before the pulse counts the bytes that it pins
)

// sample is the state of a space at a moment.
type sample struct {
	Time      int64  `json:"t"` // milliseconds since 1970
	Version   uint64 `json:"version"`
	Committed int64  `json:"committed"`
	Durable   uint64 `json:"durable"`
	Anchored  uint64 `json:"anchored"`
	Objects   uint64 `json:"objects"`
	Live      uint64 `json:"live"`
	Used      uint64 `json:"used"`
	File      uint64 `json:"file"`
	Disk      uint64 `json:"disk"`
	Journal   uint64 `json:"journal"`
	Reserved  uint64 `json:"reserved"`
	Leaked    uint64 `json:"leaked"`
	MaxSize   uint64 `json:"maxSize"`
	Readers   int    `json:"readers"`
	Oldest    uint64 `json:"oldest"` // oldest version that is held
	Failed    bool   `json:"failed"`
	Error     string `json:"error,omitempty"`
}

// process is a process that has the space open.
type process struct {
	PID      int    `json:"pid"`
	Foreign  bool   `json:"foreign,omitempty"`
	Command  string `json:"command"`
	Since    int64  `json:"since"`
	Commits  uint64 `json:"commits"`
	Reserved uint64 `json:"reserved"`
	Writing  bool   `json:"writing,omitempty"`
	Stopped  bool   `json:"stopped,omitempty"`
	Self     bool   `json:"self,omitempty"`
	Holds    []held `json:"holds,omitempty"`
}

// held is a version that a process holds.
type held struct {
	Version uint64 `json:"version"`
	Since   int64  `json:"since"`
	Pins    uint64 `json:"pins"`
	Known   bool   `json:"known"` // Pins was counted
}

// lock is a named lock in use.
type lock struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Units   int      `json:"units"`
	Waiters int      `json:"waiters"`
	Holders []holder `json:"holders"`
}

// holder is a process that holds a lock.
type holder struct {
	PID     int    `json:"pid"`
	Foreign bool   `json:"foreign,omitempty"`
	Command string `json:"command"`
	Since   int64  `json:"since"`
	Units   int    `json:"units"`
	Dead    bool   `json:"dead,omitempty"`
	Stopped bool   `json:"stopped,omitempty"`
	Self    bool   `json:"self,omitempty"`
}

// now is the state that the page shows at a moment.
type now struct {
	Sample    sample    `json:"sample"`
	Processes []process `json:"processes"`
	Locks     []lock    `json:"locks"`
	Work      []task    `json:"work"`
}

// pulse makes the events of a space.
type pulse struct {
	mu      sync.Mutex
	version everheap.Version
	now     []byte // the last now, as JSON
	number  uint64 // of the last now
	past    []sample
	readers map[chan struct{}]bool

	pins      map[pinned]uint64 // bytes that readers pin
	pinsAt    time.Time
	pinsTook  time.Duration
	lastReads []upkeep.Claim
}

// pinned names a reader.
type pinned struct {
	pid     int
	version uint64
}

func newPulse() *pulse { return &pulse{readers: map[chan struct{}]bool{}, pins: map[pinned]uint64{}} }

// run makes events until the context ends.
func (p *pulse) run(ctx context.Context, sp *space, w *work) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	var last time.Time
	for {
		watched := p.watched()
		due := time.Since(last) >= sampled || w.busy(sp.name)
		if due {
			last = time.Now()
		}
		p.beat(sp, w, due, watched)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// watched reports whether a page is open.
func (p *pulse) watched() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.readers) > 0
}

// beat examines the space. While no page is open, it only takes samples.
func (p *pulse) beat(sp *space, w *work, due, watched bool) {
	if !due && !watched {
		return
	}
	var version everheap.Version
	if sp.View(func(tx *everheap.Tx) error { version = tx.Version(); return nil }) != nil {
		version = 0 // the sample has the error
	}
	var text []byte
	var s sample
	if due {
		s = p.sample(sp)
		if watched {
			text, _ = json.Marshal(p.look(sp, w, s)) // marshaling cannot fail
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.past); due && (n == 0 || s.Time-p.past[n-1].Time >= sampled.Milliseconds()*9/10) {
		if p.past = append(p.past, s); len(p.past) > history {
			p.past = append(p.past[:0], p.past[len(p.past)-history:]...)
		}
	}
	if version == p.version && text == nil {
		return
	}
	if p.version = version; text != nil {
		p.now = text
		p.number++
	}
	for c := range p.readers {
		select {
		case c <- struct{}{}:
		default: // the reader has an event to read already
		}
	}
}

// sample takes a sample.
func (p *pulse) sample(sp *space) sample {
	st := sp.Stats()
	s := sample{Time: time.Now().UnixMilli(), Version: uint64(st.Version), Committed: st.Committed.UnixMilli(),
		Durable: uint64(st.Durable), Anchored: uint64(st.Anchored), Objects: st.Objects, Live: st.Live, Used: st.Used, File: st.File,
		Disk: st.Disk, Journal: st.Journal, Reserved: st.Reserved, Leaked: st.Leaked, MaxSize: st.MaxSize, Failed: st.Failed}
	if st.LastError != nil {
		s.Error = st.LastError.Error()
	}
	holds, err := inside.Engine(sp.Space).Holds()
	if err != nil {
		s.Error = err.Error()
	}
	p.lastReads = holds
	for _, h := range holds {
		if !h.Self {
			s.Readers++
			if s.Oldest == 0 || uint64(h.Version) < s.Oldest {
				s.Oldest = uint64(h.Version)
			}
		}
	}
	return s
}

// look collects the state that the page shows.
func (p *pulse) look(sp *space, w *work, s sample) now {
	n := now{Sample: s, Processes: []process{}, Locks: []lock{}, Work: w.list(sp.name)}
	p.findPins(sp)
	processes, err := sp.Processes()
	if err != nil {
		n.Sample.Error = err.Error()
	}
	for _, of := range processes {
		one := process{PID: of.PID, Foreign: of.Foreign, Command: of.Command, Since: of.Since.UnixMilli(), Commits: of.Commits,
			Reserved: of.Reserved, Writing: of.Writing, Stopped: of.Stopped, Self: of.Self}
		for _, h := range p.lastReads {
			if h.PID == of.PID && h.Foreign == of.Foreign && !h.Self {
				pins, known := p.pins[pinned{h.PID, uint64(h.Version)}]
				one.Holds = append(one.Holds, held{uint64(h.Version), h.Since.UnixMilli(), pins, known || uint64(h.Version) == s.Version})
			}
		}
		n.Processes = append(n.Processes, one)
	}
	locks, err := sp.Locks()
	if err != nil {
		n.Sample.Error = err.Error()
	}
	for _, l := range locks {
		one := lock{Name: l.Name, Kind: l.Kind, Units: l.Units, Waiters: l.Waiters, Holders: []holder{}}
		for _, h := range l.Holders {
			one.Holders = append(one.Holders, holder{h.PID, h.Foreign, h.Command, h.Since.UnixMilli(), h.Units, h.Dead, h.Stopped, h.Self})
		}
		n.Locks = append(n.Locks, one)
	}
	return n
}

// findPins counts the bytes that long-lived readers pin. That is a walk over all held versions, so it
// is done at a pace (IN5); short-lived readers come and go meanwhile.
func (p *pulse) findPins(sp *space) {
	long := false
	for _, h := range p.lastReads {
		_, known := p.pins[pinned{h.PID, uint64(h.Version)}]
		long = long || !h.Self && !known && time.Since(h.Since) > settled
	}
	if !long || time.Since(p.pinsAt) < pace(p.pinsTook) {
		return
	}
	select {
	case sp.walks <- struct{}{}:
		defer func() { <-sp.walks }()
	default:
		return // another walk is running; try again in a second
	}
	began := time.Now()
	readers, err := sp.Readers()
	p.pinsAt = time.Now()
	p.pinsTook = p.pinsAt.Sub(began)
	if err != nil {
		return
	}
	clear(p.pins)
	for _, r := range readers {
		p.pins[pinned{r.PID, uint64(r.Version)}] = r.Pins
	}
}

// live sends events until the page leaves.
func (s *Server) live(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r.URL.RawQuery)
	var sp *space
	if err == nil {
		sp, err = s.space(q.space)
	}
	if err != nil {
		s.answer(w, func() (any, error) { return nil, err })
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	news := make(chan struct{}, 1)
	p := sp.pulse
	p.mu.Lock()
	p.readers[news] = true
	past, _ := json.Marshal(p.past)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.readers, news)
	}()
	out := http.NewResponseController(w)
	if !event(w, out, "past", past) {
		return
	}
	alive := time.NewTicker(10 * time.Second)
	defer alive.Stop()
	var version everheap.Version
	var number uint64
	for {
		p.mu.Lock()
		newer, text, n := p.version, p.now, p.number
		p.mu.Unlock()
		ok := true
		if newer != version {
			version = newer
			ok = event(w, out, "version", fmt.Append(nil, uint64(version)))
		}
		if ok && n != number {
			number = n
			ok = event(w, out, "now", text)
		}
		if !ok {
			return
		}
		select {
		case <-news:
		case <-alive.C:
			if !event(w, out, "alive", []byte("0")) {
				return
			}
		case <-r.Context().Done():
			return
		case <-s.ctx.Done():
			return
		}
	}
}

// event sends an event, within a deadline.
func event(w http.ResponseWriter, out *http.ResponseController, name string, data []byte) bool {
	_ = out.SetWriteDeadline(time.Now().Add(sendWithin))
	_, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, data)
	return err == nil && out.Flush() == nil
}
