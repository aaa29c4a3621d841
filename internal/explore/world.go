//go:build explore

package explore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/changes"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/explore/step"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/invariant"
	"github.com/everheap/everheap/internal/journal"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/live"
	"github.com/everheap/everheap/internal/mapping"
)

// windowSize is the window size of the explored spaces.
const windowSize = 64 << 20

// tableOf is the map that all processes change.
var tableOf = edit.MapOf{Key: layout.IdentityOf[uint64](), Value: layout.IdentityOf[uint64]()}

// A World is a space on disk, as every run finds it, and the memory in which the runs
// happen.
type World struct {
	dir     string
	options engine.Options
	of      edit.MapOf
	leases  edit.MapOf    // a map whose entries expire; only some scenarios have it
	wall    time.Duration // the wall clock, since began
	state   edit.RefOf    // the state of a program that runs under Resume; only some scenarios have it
	space   [16]byte
	region  *mapping.Region
	holes   *holes          // the file of the region
	words   *mapping.Shared // the live file
	record  invariant.Record

	live, heap []byte // their contents before a run
	length     int64  // length of the heap file before a run
	lost       bool   // the live file was damaged since
	every      int    // one of this many steps may be the one before which it is damaged
	most       uint64 // the highest offset in the heap that a run has used
	journal    []byte
	frames     []changes.Frame     // the leader's frames, in scenarios of replicas
	kept       map[string][]byte   // the files of subscriptions, and the asides
	abandoned  map[recordName]bool // records that the journal has before a run, of undone versions
	before     map[uint64]uint64   // the contents of the map before a run
}

// NewWorld creates a space in dir, in which each key has the value 0 unless the preparation
// sets another one.
func NewWorld(dir string, sc *Scenario) (*World, error) {
	step.Small = false
	o := sc.Options
	o.MaxSize, o.Manual, o.Verify, o.NoCollect = windowSize, true, true, true
	w := &World{dir: dir, of: tableOf, before: map[uint64]uint64{}}
	o.Clock = w.wallClock
	w.options = o
	sp, err := engine.Open(dir, o)
	if err != nil {
		return nil, err
	}
	if w.of.ID, err = sp.OpenMap("m", tableOf); err != nil {
		return nil, err
	}
	w.space = sp.Header().SpaceID
	base, size := sp.Window()
	if err := sp.Close(); err != nil {
		return nil, err
	}
	file, err := mapping.OpenFile(filepath.Join(dir, engine.HeapName), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	w.holes = &holes{File: file, table: func() []byte { return w.written(format.TableOffset, format.TableOffset+size>>format.ExtentShift) }}
	if w.region, err = engine.ShareRegion(w.holes, base, size); err != nil {
		return nil, err
	}
	w.holes.reset()
	if sp, err = engine.OpenApart(dir, o, nil); err != nil {
		return nil, err
	}
	if err := w.prepare(sp, sc.Prepare); err != nil {
		return nil, err
	}
	if sc.Lose != nil {
		if err := w.recover(sc.Lose); err != nil {
			return nil, err
		}
	}
	return w, w.remember()
}

// Close unmaps everything.
func (w *World) Close() {
	w.record.Close()
	w.words.Close()
	engine.UnshareRegion()
}

// prepare makes the contents with which all runs begin.
func (w *World) prepare(sp *engine.Space, more func(sp *engine.Space, w *World) error) error {
	for key := range uint64(keys) {
		if _, err := sp.Write(func(tx *engine.Tx) error { return w.store(tx, key, 0) }); err != nil {
			return err
		}
		w.before[key] = 0
	}
	for range 2 { // the second sweep finds what the first one could not
		if _, err := sp.Sweep(); err != nil {
			return err
		}
	}
	if more != nil {
		if err := more(sp, w); err != nil {
			return err
		}
	}
	return sp.Depart()
}

// recover loses live and whatever else lose takes, and recovers the space.
func (w *World) recover(lose func(w *World) error) error {
	if err := lose(w); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(w.dir, live.FileName)); err != nil {
		return err
	}
	sp, err := engine.OpenApart(w.dir, w.options, nil)
	if err != nil {
		return err
	}
	return sp.Depart()
}

// keys is how many keys the map has from the beginning.
const keys = 6

// store sets a key in a transaction.
func (w *World) store(tx *engine.Tx, key, value uint64) error {
	return tx.Set(w.of, unsafe.Pointer(&key), unsafe.Pointer(&value))
}

// remember keeps an image of the space, with which every run begins.
func (w *World) remember() error {
	f, err := mapping.OpenFile(filepath.Join(w.dir, live.FileName), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Link(filepath.Join(w.dir, live.FileName), w.dir+".live"); err != nil { // a second name, in case a run replaces the file
		return err
	}
	if w.words, err = mapping.MapShared(f, format.LiveSize); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(w.dir, engine.HeapName))
	if err != nil {
		return err
	}
	w.record = invariant.OpenRecord(invariant.Subject{Dir: w.dir, Heap: info, Space: w.space, Salt: w.liveWords().Salt.Load(),
		Joined: w.liveWords().NextIncarnation.Load})
	if w.kept, err = w.keptFiles(); err != nil {
		return err
	}
	w.live, w.length = append([]byte(nil), w.words.Bytes()...), info.Size()
	w.most = w.liveWords().Carved.Load()
	w.heap = append([]byte(nil), w.written(0, w.most)...)
	if w.journal, err = os.ReadFile(filepath.Join(w.dir, journal.FileName)); err != nil || w.options.NoJournal {
		return err
	}
	return w.findAbandoned()
}

// liveWords returns the words of the live file.
func (w *World) liveWords() *format.Live { return (*format.Live)(w.words.Pointer(0)) }

// written returns bytes of the heap, writable.
func (w *World) written(from, to uint64) []byte {
	at := uintptr(w.region.Base()) + w.region.Delta() + uintptr(from)
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), at)), to-from)
}

// reset restores everything from the image.
func (w *World) reset() error {
	w.wall = 0
	if w.lost {
		if err := w.restoreLive(); err != nil {
			return err
		}
	} else {
		w.most = max(w.most, w.liveWords().Carved.Load())
	}
	if err := os.Truncate(filepath.Join(w.dir, engine.HeapName), max(w.length, int64(w.most))); err != nil { // the run may have cut it
		return err
	}
	copy(w.words.Bytes(), w.live)
	w.record.Clear(w.liveWords().NextIncarnation.Load())
	copy(w.written(0, uint64(len(w.heap))), w.heap)
	clear(w.written(uint64(len(w.heap)), w.most))
	w.most = uint64(len(w.heap))
	w.holes.reset()
	if err := os.Truncate(filepath.Join(w.dir, engine.HeapName), w.length); err != nil {
		return err
	}
	if w.options.NoJournal {
		return nil
	}
	return errors.Join(w.resetKept(), w.resetJournal())
}

// restoreLive restores the live file and its length if it was damaged: a process that
// noticed may have replaced the file. How much of the heap the run has used is unknown then.
func (w *World) restoreLive() error {
	path, kept := filepath.Join(w.dir, live.FileName), w.dir+".live"
	w.lost = false
	info, err := os.Stat(filepath.Join(w.dir, engine.HeapName))
	if err != nil {
		return err
	}
	w.most = max(w.most, uint64(info.Size()))
	return errors.Join(os.Truncate(kept, format.LiveSize), os.Remove(path), os.Link(kept, path))
}

// resetJournal restores the journal. It restores only the beginnings of segments: no process
// looks behind, as no frame reaches there.
func (w *World) resetJournal() error {
	f, err := os.OpenFile(filepath.Join(w.dir, journal.FileName), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(int64(len(w.journal))); err != nil {
		return err
	}
	for from := 0; from < len(w.journal); from += format.SegmentSize {
		if _, err := f.WriteAt(w.journal[from:from+runFrames], int64(from)); err != nil {
			return err
		}
	}
	return nil
}

// A Process is a process of a run.
type Process struct {
	id      int
	run     *Run
	space   *engine.Space
	threads []*Thread
	mortal  bool
	dead    bool
	closed  bool
	at      uintptr // address of its words
	size    uintptr

	forked bool            // it is a fork of another process
	forker uintptr         // the goroutine that forked
	files  []*os.File      // a fork's open files
	words  *mapping.Shared // a fork's words of live
	tx     *engine.Tx      // the transaction in which a fork was made
}

// open opens the space.
func (p *Process) open() error {
	sp, err := engine.OpenApart(p.run.world.dir, p.run.world.options, func(sp *engine.Space) { p.space = sp })
	if err != nil {
		p.space = nil
		return err
	}
	lv, _ := sp.Parts()
	p.at, p.size = lv.WordsAt()
	return nil
}

// place returns the offset in the live file of a word that a pointer points to.
func (p *Process) place(at any) (uintptr, bool) {
	a := reflect.ValueOf(at).Pointer()
	if a < p.at || a >= p.at+p.size {
		return 0, false
	}
	return a - p.at, true
}

// shares reports whether a pointer points to a word that the process shares with others.
func (p *Process) shares(at any) bool {
	if p.space == nil {
		return false
	}
	lv, _ := p.space.Parts()
	if lv == nil {
		return false
	}
	from, size := lv.WordsAt()
	a := reflect.ValueOf(at).Pointer()
	return a >= from && a < from+size
}

// die releases the locks of the process.
func (p *Process) die() {
	if p.space != nil {
		p.space.Die()
	}
}

// A write is a transaction that sets keys: all of them get the same value, which no other
// transaction uses.
type write struct {
	value   uint64
	keys    []uint64
	version format.Version // 0: unknown
	outcome outcome
	durable bool

	unlisted bool
}

type outcome int

const (
	unknown   outcome = iota // the process died in it
	committed                // and the process was told so
	failed                   // and the process was told so
)

// A Run is one run of a scenario.
type Run struct {
	world     *World
	schedule  *schedule
	processes []*Process
	children  []*Process // forks, which are not members of the space
	admitted  []string   // operations of forks that the library did not refuse
	writes    []*write
	extra     []uint64        // keys that the run has added
	told      map[uint64]bool // keys of leases that a caller was told to be gone
	next      uint64          // the next value
	applied   map[uint64]bool // versions of frames that a process was told it has applied
	ledEnds   bool            // a process promotes the replica
}

// process adds a process that has the space open.
func (r *Run) process(mortal bool) *Process {
	p := &Process{id: len(r.processes), run: r, mortal: mortal}
	r.processes = append(r.processes, p)
	if err := p.open(); err != nil {
		r.fail("opening: %v", err)
	}
	return p
}

// absent adds a process that is about to open the space.
func (r *Run) absent(mortal bool) *Process {
	p := &Process{id: len(r.processes), run: r, mortal: mortal}
	r.processes = append(r.processes, p)
	return p
}

// thread adds a thread of a process.
func (r *Run) thread(p *Process, name string, body func()) *Thread {
	t := &Thread{process: p, name: name, body: body}
	p.threads = append(p.threads, t)
	return t
}

// fail fails the run.
func (r *Run) fail(format string, args ...any) { r.schedule.fail(format, args...) }

// must fails the run if there is an error.
func (r *Run) must(what string, err error) {
	if err != nil && !errors.Is(err, failure.ErrSuspended) {
		r.fail("%s: %v", what, err)
	}
}

// set commits a transaction that sets keys, several times if times says so: then it drops
// its own blocks.
func (r *Run) set(p *Process, times int, keys ...uint64) {
	r.next++
	w := &write{value: r.next, keys: keys}
	r.writes = append(r.writes, w)
	version, err := p.space.Write(func(tx *engine.Tx) error {
		for i := range times {
			for _, key := range keys {
				if err := r.world.store(tx, key, w.value<<8|uint64(times-1-i)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	w.version, w.outcome = version, committed
	if p.forked {
		r.refused("a transaction", err)
	}
	if err != nil {
		w.outcome = failed
		if !p.forked && !errors.Is(err, failure.ErrSuspended) && !errors.Is(err, failure.ErrClosed) {
			r.fail("process %d: setting %v: %v", p.id, keys, err)
		}
	}
}

// look reads all keys in one view, times times.
func (r *Run) look(p *Process, times int) {
	tx, err := p.space.View()
	if p.forked {
		r.refused("a view", err)
	}
	if err != nil {
		if !p.forked {
			r.must("view", err)
		}
		return
	}
	r.lookIn(p, tx, times, nil)
	tx.EndView()
}

// lookIn reads all keys in a view, times times, and calls between in between.
func (r *Run) lookIn(p *Process, tx *engine.Tx, times int, between func()) {
	first := map[uint64]uint64{}
	for i := range times {
		got, err := r.read(tx)
		if err != nil {
			r.fail("process %d: version %d, reading for the %d. time: %v", p.id, tx.Version(), i+1, err)
			return
		}
		if i == 0 {
			first = got
		} else if !reflect.DeepEqual(got, first) {
			r.fail("process %d: version %d has changed: %v, then %v", p.id, tx.Version(), first, got)
		}
		if i < times-1 {
			if between != nil {
				between()
			}
			r.schedule.Step("look again", stepPoint, nil)
		}
	}
}

// read reads the whole map.
func (r *Run) read(tx *engine.Tx) (map[uint64]uint64, error) {
	got := map[uint64]uint64{}
	var key uint64
	err := tx.Entries(r.world.of, func() unsafe.Pointer { return unsafe.Pointer(&key) }, func(value unsafe.Pointer) bool {
		got[key] = *(*uint64)(value)
		return true
	})
	return got, err
}

// check runs the space's own check.
func (r *Run) check(p *Process, when string) {
	report, err := p.space.Check(context.Background())
	if err != nil {
		r.fail("%s: checking: %v", when, err)
		return
	}
	for _, f := range report.Findings {
		r.fail("%s: the check of process %d finds: %s %#x+%d: %s", when, p.id, f.File, uint64(f.Addr), f.Offset, f.What)
	}
}

// end closes everything that is left of the run.
func (r *Run) end() {
	r.schedule.end()
	for _, p := range r.processes {
		switch {
		case p.space == nil:
		case p.closed:
		case p.dead:
			p.space.Bury()
		default:
			p.space.Die()
			p.space.Bury()
		}
	}
	for _, p := range r.children {
		p.bury()
	}
}

// String formats a write.
func (w *write) String() string { return fmt.Sprintf("%d:%v", w.value, w.keys) }
