//go:build explore

package explore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
)

// journalScenarios are the scenarios of the journal's file: which process writes which
// segment, and which process makes the file longer or shorter.
var journalScenarios = []Scenario{
	{
		// Two processes write the only segment, one after the other.
		Name: "segments", Prepare: covered,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			return []*Thread{
				r.thread(a, "A", func() { r.synced(a); r.synced(a) }),
				r.thread(b, "B", func() { r.synced(b); b.space.ReleaseJournal() }),
			}
		},
	},
	{
		// Two processes need a segment that the file does not have.
		Name: "new segments", Prepare: covered,
		Threads: func(r *Run) []*Thread {
			a, b, c := r.process(false), r.process(false), r.process(false)
			r.synced(c) // c has the file's only segment
			return []*Thread{
				r.thread(a, "A", func() { r.synced(a) }),
				r.thread(b, "B", func() { r.synced(b); b.space.ReleaseJournal() }),
			}
		},
	},
	{
		// A process cuts the journal, while another process needs the segment that is cut
		// off; then the first process needs a segment itself.
		Name: "cutting", Prepare: twoSegments,
		Threads: func(r *Run) []*Thread {
			a, b, c := r.process(false), r.process(false), r.process(false)
			r.synced(c)
			over := false
			return []*Thread{
				r.thread(a, "A", func() { r.synced(a); r.synced(a); a.space.ReleaseJournal(); over = true }),
				r.thread(b, "B", func() {
					r.must("cutting", b.space.CutJournal())
					r.await(&over)
					r.synced(b)
				}),
			}
		},
	},
	{
		// A process cuts the journal while another thread of it and another process write
		// there.
		Name: "cutting within", Prepare: twoSegments,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			return []*Thread{
				r.thread(a, "A", func() { r.synced(a) }),
				r.thread(a, "cutter", func() { r.must("cutting", a.space.CutJournal()) }),
				r.thread(b, "B", func() { r.synced(b) }),
			}
		},
	},
	{
		// The journal has records of a history that a power loss has undone: the record of
		// version n is damaged, those of later versions are intact.
		Name: "after a loss of power", Prepare: covered, Lose: loseNext,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			return []*Thread{
				r.thread(a, "A", func() { r.synced(a) }),
				r.thread(b, "B", func() { r.set(b, 1, 2); r.must("spool", b.space.Spool()) }),
			}
		},
		After: func(r *Run) { r.must("what is in the journal", r.processes[0].space.Journaled()) },
	},
	{
		// Two anchors replace the record of a version that does not list its changes.
		Name: "unlisted", Kills: 1, Prepare: covered,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(false)
			return []*Thread{
				r.thread(a, "A", func() {
					r.set(a, 1, 1)
					r.setUnlisted(a, 2)
					r.must("sync", a.space.Sync())
				}),
				r.thread(b, "B", func() { r.synced(b) }),
			}
		},
	},
	{
		// Two processes try to make the journal shorter, and one of them writes to it
		// meanwhile.
		Name: "a journal at rest", Kills: 1, Prepare: twoSegments,
		Threads: func(r *Run) []*Thread {
			a, b, c := r.process(true), r.process(false), r.process(false)
			r.synced(c) // c has the first segment, and releases it once it rests
			return []*Thread{
				r.thread(a, "A", func() { r.rest(a, 3) }),
				r.thread(b, "B", func() { r.synced(b); r.rest(b, 1) }),
			}
		},
		After: (*Run).rests,
	},
	{
		// Two processes try to make the journal shorter, and no process writes.
		Name: "a longer journal at rest", Kills: 1, Prepare: twoSegments,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(false)
			return []*Thread{
				r.thread(a, "A", func() { r.rest(a, 3) }),
				r.thread(b, "B", func() { r.rest(b, 3) }),
			}
		},
		After: (*Run).rests,
	},
	{
		// A process writes little, and another process tries to make the journal shorter.
		Name: "a journal in use", Prepare: twoSegments,
		Threads: func(r *Run) []*Thread {
			a, b, c := r.process(false), r.process(false), r.process(false)
			r.synced(c)
			done := 0
			write := func(n int) { // takes turns with the looks
				for done < n {
					r.schedule.Pause("scenario", 0)
				}
			}
			return []*Thread{
				r.thread(a, "A", func() {
					rest := a.space.Rest()
					for range 4 {
						r.lookAtRest(a, rest)
						done++
					}
				}),
				r.thread(b, "B", func() {
					for n := range 3 {
						r.synced(b)
						r.must("anchor", b.space.Anchor(true))
						write(n + 1)
					}
				}),
			}
		},
		After: (*Run).writesLittle,
	},
	{
		// A process tries to make the journal shorter while another thread of it writes
		// there.
		Name: "looking within", Prepare: twoSegments,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			r.synced(b)
			r.synced(a) // into the second segment
			r.must("anchor", b.space.Anchor(true))
			b.space.ReleaseJournal()
			return []*Thread{
				r.thread(a, "A", func() { r.synced(a) }),
				r.thread(a, "looker", func() {
					rest := a.space.Rest()
					for range 2 {
						r.lookAtRest(a, rest)
						r.set(b, 1, 3)
					}
				}),
				r.thread(b, "B", func() { r.synced(b) }),
			}
		},
	},
	{
		// Versions wait for a process that leads the journal, while other processes reuse
		// their blocks as soon as they may, and lead in its place.
		Name: "waiting for the journal", Prepare: covered,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			lv, _ := a.space.Parts()
			if !lv.TryLeadJournal() {
				r.fail("somebody leads the journal")
			}
			for range 4 { // no process writes these versions to the journal
				r.set(b, 1, 1, 2)
			}
			lv.UnleadJournal()
			return []*Thread{
				r.thread(a, "A", func() { r.must("spool", a.space.Spool()) }),
				r.thread(b, "B", func() {
					for range 2 {
						r.set(b, 1, 1, 2)
						r.set(b, 1, 1, 2)
						r.must("sync", b.space.Sync())
					}
				}),
			}
		},
	},
}

// synced commits a transaction, and makes it durable.
func (r *Run) synced(p *Process) {
	r.set(p, 1, 1)
	r.must("sync", p.space.Sync())
}

// setUnlisted commits a transaction that sets a key, and does not list its changes.
func (r *Run) setUnlisted(p *Process, key uint64) {
	r.next++
	w := &write{value: r.next, keys: []uint64{key}, unlisted: true}
	r.writes = append(r.writes, w)
	version, err := p.space.Write(func(tx *engine.Tx) error {
		tx.Unlist()
		return r.world.store(tx, key, w.value<<8)
	})
	w.version, w.outcome = version, committed
	if err != nil {
		w.outcome = failed
		r.must("setting a key", err)
	}
}

// lookAtRest is one attempt of a process to make the files smaller. It keeps the part of the
// journal that was in use at the last looks (J8).
func (r *Run) lookAtRest(p *Process, rest *engine.Resting) {
	lv, _ := p.space.Parts()
	before := lv.Segments()
	used, err := rest.Look()
	if !errors.Is(err, failure.ErrBusy) {
		r.must("looking at the files", err)
	}
	if n := lv.Segments(); n < min(used, before) { // a process that cuts claims all possible segments
		r.fail("the journal was cut to %d segments, and %d were in use at the last looks", n, used)
	}
}

// rest calls lookAtRest that many times.
func (r *Run) rest(p *Process, times int) {
	rest := p.space.Rest()
	for range times {
		r.lookAtRest(p, rest)
	}
}

// rests verifies that the files are short once all processes rest (J7), and stay as they are.
func (r *Run) rests() {
	var all []*Process
	for _, p := range r.processes {
		if !p.dead && !p.closed && p.space != nil {
			all = append(all, p)
		}
	}
	resting := map[*Process]*engine.Resting{}
	look := func(times int) {
		for range times {
			for _, p := range all {
				if resting[p] == nil {
					resting[p] = p.space.Rest()
				}
				r.lookAtRest(p, resting[p])
			}
		}
	}
	look(6)
	r.isShort(all[0])
	before := r.resting(all[0])
	look(3)
	if now := r.resting(all[0]); now != before {
		r.fail("the space does not come to rest: it was %v, and is %v", before, now)
	}
}

// resting returns the present state of the files.
func (r *Run) resting(p *Process) restingFiles {
	lv, _ := p.space.Parts()
	return restingFiles{lv.Current(), lv.UsableAnchors()[0].Sequence, r.world.liveWords().Epoch.Load(), lv.Segments()}
}

// restingFiles has the facts that do not change while all processes rest.
type restingFiles struct {
	current  format.Addr
	anchors  uint64 // how many anchors were written
	epoch    uint64
	segments int
}

// isShort verifies that the journal has one segment, in the words and in the file.
func (r *Run) isShort(p *Process) {
	size, err := p.space.JournalLength()
	r.must("the length of the journal", err)
	if lv, _ := p.space.Parts(); lv.Segments() != 1 || size != format.SegmentSize {
		r.fail("at rest the journal has %d segments, and is %d bytes long", lv.Segments(), size)
	}
}

// writesLittle verifies that the journal becomes short although a process keeps writing a
// little to it (J8).
func (r *Run) writesLittle() {
	b := r.processes[1]
	for _, p := range r.processes {
		if p != b {
			p.space.ReleaseJournal()
		}
	}
	rest := b.space.Rest()
	for range 5 {
		r.synced(b)
		r.must("anchor", b.space.Anchor(true))
		r.lookAtRest(b, rest)
	}
	r.isShort(b)
}

// await waits until another thread has set done.
func (r *Run) await(done *bool) { r.awaitThat(func() bool { return *done }) }

// awaitThat waits until other threads have made done true.
func (r *Run) awaitThat(done func() bool) {
	for !done() && r.schedule.failure == "" {
		r.schedule.Pause("scenario", 0)
	}
}

// covered makes the journal superfluous.
func covered(sp *engine.Space, _ *World) error {
	sp.ReleaseJournal()
	return sp.Anchor(true)
}

// loseNext makes a journal in which one record is damaged, so that a recovery ends before
// it, and the records of the next versions are intact.
func loseNext(w *World) error {
	sp, err := engine.OpenApart(w.dir, w.options, nil)
	if err != nil {
		return err
	}
	lv, _ := sp.Parts()
	anchored := lv.NewestAnchor()
	for key := range uint64(5) {
		if _, err := sp.Write(func(tx *engine.Tx) error { return w.store(tx, key, (90+key)<<8) }); err != nil {
			return err
		}
		if err := sp.Spool(); err != nil {
			return err
		}
	}
	if err := sp.Depart(); err != nil {
		return err
	}
	w.before[0] = 90 << 8 // in the version that is recovered
	f, err := os.OpenFile(filepath.Join(w.dir, journal.FileName), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := w.journalFrames()
	if err != nil {
		return err
	}
	for at := 0; at+format.FrameHeadSize <= len(b); at += format.FrameAlign {
		if h, ok := format.DecodeFrameHead(b[at:]); ok && h.First == uint64(anchored)+2 {
			_, err := f.WriteAt([]byte{^b[at+format.FrameHeadSize+int(h.Size)-1]}, int64(at+format.FrameHeadSize+int(h.Size)-1))
			return err
		}
	}
	return fmt.Errorf("the journal has no record of version %d", anchored+2)
}

// twoSegments makes a journal of two segments, both superfluous.
func twoSegments(sp *engine.Space, w *World) error {
	if err := covered(sp, w); err != nil {
		return err
	}
	lv, _ := sp.Parts()
	i, ok := lv.ClaimSegment()
	if !ok {
		return errors.New("the only segment of the journal is not free")
	}
	if _, err := sp.Write(func(tx *engine.Tx) error { return w.store(tx, 0, 0) }); err != nil {
		return err
	}
	if err := sp.Sync(); err != nil {
		return err
	}
	lv.ReleaseSegment(i)
	return covered(sp, w)
}
