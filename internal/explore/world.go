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

// windowSize is that of the spaces that are explored.
const windowSize = 64 << 20

// tableOf is the map that all processes change.
var tableOf = edit.MapOf{Key: layout.IdentityOf[uint64](), Value: layout.IdentityOf[uint64]()}

// A World is a space on disk, as it is before every run, and the memory in which the runs
// happen.
type World struct {
	dir     string
	options engine.Options
	of      edit.MapOf
	leases  edit.MapOf    // whose entries expire; only some scenarios have it
	wall    time.Duration // since began, by the wall clock
	state   edit.RefOf    // of a program that runs under Resume; only some scenarios have it
	space   [16]byte
	region  *mapping.Region
	holes   *holes          // the file of the region
	words   *mapping.Shared // of the live file
	record  invariant.Record

	live, heap []byte // as they are before a run
	length     int64  // of the heap file, before a run
	lost       bool   // the live file was cut since
	every      int    // steps of which one may be the one before which it is cut
	most       uint64 // offset up to which a run has used the heap
	journal    []byte
	frames     []changes.Frame     // of the leader, of a replica
	kept       map[string][]byte   // the files of subscriptions, and asides
	abandoned  map[recordName]bool // that the journal has before a run, of versions that are none
	before     map[uint64]uint64   // what the map has before a run
}

// NewWorld makes a space in dir, in which each of some keys has the value 0 unless a
// transaction of the preparation says otherwise.
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

// prepare makes what all runs begin with.
func (w *World) prepare(sp *engine.Space, more func(sp *engine.Space, w *World) error) error {
	for key := range uint64(keys) {
		if _, err := sp.Write(func(tx *engine.Tx) error { return w.store(tx, key, 0) }); err != nil {
			return err
		}
		w.before[key] = 0
	}
	for range 2 { // the second one finds what the first one could not
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

// recover loses live, and what else a loss of power takes, and recovers the space.
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

// keys are those that the map has from the beginning.
const keys = 6

// store sets a key in a transaction.
func (w *World) store(tx *engine.Tx, key, value uint64) error {
	return tx.Set(w.of, unsafe.Pointer(&key), unsafe.Pointer(&value))
}

// remember takes the image that every run begins with.
func (w *World) remember() error {
	f, err := mapping.OpenFile(filepath.Join(w.dir, live.FileName), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Link(filepath.Join(w.dir, live.FileName), w.dir+".live"); err != nil { // by which it is found when others have replaced it
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

// reset makes everything as it was.
func (w *World) reset() error {
	w.wall = 0
	if w.lost {
		if err := w.restoreLive(); err != nil {
			return err
		}
	} else {
		w.most = max(w.most, w.liveWords().Carved.Load())
	}
	if err := os.Truncate(filepath.Join(w.dir, engine.HeapName), max(w.length, int64(w.most))); err != nil { // it may have been cut
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

// restoreLive makes the live file that which it was, and as long, if it was cut: whoever found
// out may have made another one. What the run has used of the heap is not known then.
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

// resetJournal makes the journal as it was: what is behind its beginning is not looked
// at, as far as no frame leads there.
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
	at      uintptr // of its words
	size    uintptr

	forked bool            // it is a fork of another one
	forker uintptr         // the goroutine that forked
	files  []*os.File      // of a fork
	words  *mapping.Shared // of a fork
	tx     *engine.Tx      // of a fork: that it was made in
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

// place returns where among the words of the live file a pointer leads.
func (p *Process) place(at any) (uintptr, bool) {
	a := reflect.ValueOf(at).Pointer()
	if a < p.at || a >= p.at+p.size {
		return 0, false
	}
	return a - p.at, true
}

// shares reports whether a pointer leads to a word that the process shares with others.
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

// die drops the locks of the process.
func (p *Process) die() {
	if p.space != nil {
		p.space.Die()
	}
}

// A write is a transaction that changes keys: all of them get the same value, which no
// other transaction uses.
type write struct {
	value   uint64
	keys    []uint64
	version format.Version // 0: not known
	outcome outcome
	durable bool

	unlisted bool
}

type outcome int

const (
	unknown   outcome = iota // the process died in it
	committed                // and told so
	failed                   // and told so
)

// A Run is one run of a scenario.
type Run struct {
	world     *World
	schedule  *schedule
	processes []*Process
	children  []*Process // which are forks, and no members of the space
	admitted  []string   // what a fork was not refused
	writes    []*write
	extra     []uint64        // keys that were added
	told      map[uint64]bool // of leases that somebody was told to be gone
	next      uint64          // value
	applied   map[uint64]bool // versions of frames that somebody was told to have applied
	ledEnds   bool            // somebody promotes the replica
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

// fail notes that the run has gone wrong.
func (r *Run) fail(format string, args ...any) { r.schedule.fail(format, args...) }

// must notes an error that must not be.
func (r *Run) must(what string, err error) {
	if err != nil && !errors.Is(err, failure.ErrSuspended) {
		r.fail("%s: %v", what, err)
	}
}

// set commits a transaction that sets keys, twice if so many are wanted: then it drops
// blocks of its own.
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

// look reads all keys in one view, more than once.
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

// lookIn reads all keys in a view, more than once, and calls between in between.
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

// check is the check of a space by its own means.
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

// end ends what is left of the run.
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

// String tells what a run has written.
func (w *write) String() string { return fmt.Sprintf("%d:%v", w.value, w.keys) }
