//go:build explore

package explore

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/everheap/everheap/internal/changes"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/journal"
)

// replicaScenarios are the scenarios of a replica, which takes only the changes of its
// leader. The frames are from the space itself: it has lost their versions by a power loss,
// and has become a replica of its former self. Each frame is applied once (RP1), and no
// process publishes anything else before the replica is promoted.
var replicaScenarios = []Scenario{
	{
		// Two processes apply the same frames, and try to write.
		Name: "two appliers", Kills: 1, Prepare: leadFirst, Lose: loseLed, After: (*Run).promoted,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			r.led()
			return []*Thread{
				r.thread(a, "A", func() { r.applyAll(a); r.readOnly(a) }),
				r.thread(b, "B", func() { r.readOnly(b); r.applyAll(b) }),
			}
		},
	},
	{
		// A process promotes the replica and writes, while another one applies frames.
		Name: "promoting", Kills: 1, Prepare: leadFirst, Lose: loseLed, After: (*Run).promoted,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(true)
			r.led()
			return []*Thread{
				r.thread(a, "A", func() { r.applyAll(a) }),
				r.thread(b, "B", func() { r.promote(b); r.set(b, 1, 4) }),
			}
		},
	},
}

// leadFirst makes frames, of versions that list their changes and of one that does not, and
// turns the space into a replica.
func leadFirst(sp *engine.Space, w *World) error {
	if err := subscribed(64<<20)(sp, w); err != nil {
		return err
	}
	from, err := sp.NewestVersion()
	for key := range uint64(3) {
		if err == nil {
			_, err = sp.Write(func(tx *engine.Tx) error {
				if key == 1 {
					tx.Unlist()
				}
				return w.store(tx, key, (200+key)<<8)
			})
		}
	}
	if err == nil {
		err = sp.Sync()
	}
	if err != nil {
		return err
	}
	for f, err := range sp.Changes.Since(ended(), from) {
		if err == nil {
			w.frames = append(w.frames, f)
		} else if !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return errors.Join(sp.Changes.Drop(subscriber), sp.BecomeReplica(""))
}

// loseLed loses the versions after the anchors.
func loseLed(w *World) error {
	path := filepath.Join(w.dir, journal.FileName)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	files, err := w.keptFiles()
	delete(files, format.ReplicaName)
	for name := range files {
		err = errors.Join(err, os.Remove(filepath.Join(w.dir, name)))
	}
	return errors.Join(err, os.Truncate(path, 0), os.Truncate(path, info.Size()))
}

// led notes the changes of the frames.
func (r *Run) led() {
	r.applied = map[uint64]bool{}
	for i, f := range r.world.frames {
		r.writes = append(r.writes, &write{value: 200 + uint64(i), keys: []uint64{uint64(i)}, version: format.Version(f.Version), unlisted: f.Kind == format.ChangeCompared})
	}
}

// apply applies a frame, unless it was applied before.
func (r *Run) apply(p *Process, f *changes.Frame, w *write) {
	err := p.space.ApplyFrame(context.Background(), f)
	switch newest, _ := p.space.NewestVersion(); {
	case err == nil && r.applied[f.Version]:
		r.fail("the frame of version %d is applied twice", f.Version)
	case err == nil, errors.Is(err, failure.ErrOutOfOrder) && uint64(newest) >= f.Version && !r.ledEnds:
		w.outcome = committed
		if err == nil {
			r.applied[f.Version] = true
		}
	case r.ledEnds: // the space is no longer a replica, or has another history
	default:
		r.fail("applying the frame of version %d to version %d: %v", f.Version, newest, err)
	}
}

// applyAll applies all frames, in their order.
func (r *Run) applyAll(p *Process) {
	for i := range r.world.frames {
		r.apply(p, &r.world.frames[i], r.writes[i])
	}
}

// readOnly verifies that the replica refuses a transaction.
func (r *Run) readOnly(p *Process) {
	_, err := p.space.Write(func(tx *engine.Tx) error { return r.world.store(tx, 5, 1<<8) })
	if !errors.Is(err, failure.ErrReadOnly) && !errors.Is(err, failure.ErrSuspended) {
		r.fail("writing to a replica: %v", err)
	}
}

// promote promotes the replica to a writable space.
func (r *Run) promote(p *Process) {
	r.ledEnds = true // at some moment from now on
	r.must("promoting", p.space.Promote(context.Background()))
}

// promoted verifies that the replica's file and its word in live agree (RP4), applies the
// remaining frames, and promotes the replica, since all processes write from then on.
func (r *Run) promoted() {
	_, err := os.Stat(filepath.Join(r.world.dir, format.ReplicaName))
	if filed := err == nil; filed && r.world.liveWords().Replica.Load() == 0 {
		r.fail("live says that the space can be written to, and its file that it is a replica")
	}
	p := r.process(false)
	if p.space == nil || !p.space.Changes.IsReplica() {
		return
	}
	if !r.ledEnds {
		r.applyAll(p)
		last := r.world.frames[len(r.world.frames)-1]
		if newest, err := p.space.NewestVersion(); err != nil || uint64(newest) != last.Version {
			r.fail("the replica is at version %d, %v; the last frame is of version %d", newest, err, last.Version)
		}
	}
	r.promote(p)
}
