//go:build explore

package explore

import (
	"errors"

	"github.com/everheap/everheap/internal/engine"
)

// journalScenarios are those of the file of the journal: who writes which segment of it, and who
// makes it longer and shorter.
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
			r.synced(c) // it has the one that the file has
			return []*Thread{
				r.thread(a, "A", func() { r.synced(a) }),
				r.thread(b, "B", func() { r.synced(b); b.space.ReleaseJournal() }),
			}
		},
	},
	{
		// A process cuts the journal, while another one needs the segment that is cut off;
		// then it needs one itself.
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
		// A process cuts the journal while another thread of it writes there, and another
		// process does.
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
		// Versions wait for a process that leads the journal, while others use their blocks
		// again as soon as they may, and lead in its place.
		Name: "waiting for the journal", Prepare: covered,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			lv, _ := a.space.Parts()
			if !lv.TryLeadJournal() {
				r.fail("somebody leads the journal")
			}
			for range 4 { // nobody writes them to the journal
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

// await waits until another thread has done something.
func (r *Run) await(done *bool) {
	for !*done && r.schedule.failure == "" {
		r.schedule.Pause("scenario", 0)
	}
}

// covered makes nothing of the journal needed.
func covered(sp *engine.Space, _ *World) error {
	sp.ReleaseJournal()
	return sp.Anchor(true)
}

// twoSegments makes a journal of two segments, of which nothing is needed.
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
