//go:build invariants && linux

package invariant

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unsafe"
)

// noted is an event that was read from a record.
type noted struct {
	time  int64
	ring  int
	n     uint64 // its number in its ring
	event Event
	at    uint64
	a, b  uint64
}

// touches reports whether the event is about a piece that contains an address.
func (e *noted) touches(at uint64) bool {
	return e.at != 0 && (e.at == at || e.event.ranged() && at-e.at < e.b)
}

// rows reads the head of the record.
func (r *record) rows() *[numRings]ringRow { return &r.head.rows }

// read returns the events of all rings, in the order of their time.
func (r *record) read() (list []noted) {
	for i := range r.rows() {
		list = append(list, r.readRing(i)...)
	}
	slices.SortFunc(list, func(a, b noted) int {
		return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.ring, b.ring), cmp.Compare(a.n, b.n))
	})
	return list
}

// readRing reads one ring from the file, since this process has not mapped the rings of
// others. Its owner may write meanwhile (D7).
func (r *record) readRing(ring int) (list []noted) {
	count := r.rows()[ring].count.Load()
	if count == 0 {
		return nil
	}
	b := make([]byte, min(count, ringEvents)*eventBytes)
	n, _ := r.file.ReadAt(b, ringAt(ring))
	stored := unsafe.Slice((*storedEvent)(unsafe.Pointer(&b[0])), n/eventBytes)
	for k := count - min(count, ringEvents); k < count; k++ {
		i := k % ringEvents
		if i >= uint64(len(stored)) {
			continue
		}
		s := &stored[i]
		what := s.what.Load()
		if what>>roundShift != k/ringEvents&(1<<(64-roundShift)-1) { // D7
			continue
		}
		list = append(list, noted{s.time.Load(), ring, k, Event(what >> atBits), what & (1<<atBits - 1) << 4, s.a.Load(), s.b.Load()})
	}
	return list
}

// print writes events, one on each line.
func (r *record) print(w io.Writer, list []noted) error {
	out := bufio.NewWriter(w)
	offset := time.Now().UnixNano() - clock()
	for i := range list {
		e := &list[i]
		row := &r.rows()[e.ring]
		fmt.Fprintf(out, "%s %d(%s) %s", time.Unix(0, e.time+offset).Format("15:04:05.000000000"), row.pid.Load(), text(row.command[:]), e.event)
		if e.at != 0 {
			fmt.Fprintf(out, " %#x", e.at)
		}
		if told := e.event.tell(e.a, e.b); told != "" {
			fmt.Fprintf(out, ": %s", told)
		}
		fmt.Fprintln(out)
	}
	return out.Flush()
}

// DumpEvents writes the events of the spaces that this process has open: for each space the
// events of all its processes, in the order of their time, one on each line.
func DumpEvents(w io.Writer) error {
	var errs []error
	open.Range(func(r, _ any) bool {
		r1 := r.(*record)
		errs = append(errs, r1.print(w, r1.read()))
		return true
	})
	return errors.Join(errs...)
}

// DumpEventsOf is DumpEvents for the space in a directory, which this process need not have
// open.
func DumpEventsOf(dir string, w io.Writer) error {
	info, err := os.Stat(filepath.Join(dir, "heap"))
	if err != nil {
		return err
	}
	path := recordPath(info)
	if path == "" {
		return errors.New("events are not recorded: EVERHEAP_RECORDS is off")
	}
	r, err := openRecord(path, false)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the space in %s has no events: no program with the build tag invariants has had it open", dir)
	}
	if err != nil {
		return err
	}
	defer Record{r}.Close()
	return r.print(w, r.read())
}

// lastEvents is how many events a failed assertion prints.
const lastEvents = 40

// History returns the last events of the piece of the heap at an address; of all pieces, if that is 0.
func (r Record) History(at uint64) string {
	if r.record == nil {
		return ""
	}
	list := r.read()
	if at != 0 {
		list = slices.DeleteFunc(list, func(e noted) bool { return !e.touches(at) })
	}
	list = list[max(0, len(list)-lastEvents):]
	var b strings.Builder
	if err := r.print(&b, list); err != nil {
		return err.Error()
	}
	return b.String()
}

// history returns the last events of all spaces that this process has open.
func history() string {
	var b strings.Builder
	open.Range(func(r, _ any) bool {
		b.WriteString(Record{r.(*record)}.History(0))
		return true
	})
	return b.String()
}
