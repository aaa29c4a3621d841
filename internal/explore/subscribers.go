//go:build explore

package explore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
)

// subscriberScenarios are the scenarios of subscriptions. At the end each subscription that
// is not lost keeps no more than its limit, and has every version after its own; and no
// anchor had a version before the journal had it.
var subscriberScenarios = []Scenario{
	{
		// A process reads and confirms, while another one commits versions of both kinds.
		Name: "a subscriber", Kills: 1, Prepare: subscribed(64 << 20), After: (*Run).keepsFiled,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(false)
			return []*Thread{
				r.thread(a, "reader", func() {
					r.follow(a)
					r.follow(a)
				}),
				r.thread(b, "B", func() {
					r.setUnlisted(b, 2)
					r.synced(b)
					r.must("anchor", b.space.Anchor(true))
					r.setUnlisted(b, 1)
					r.must("sync", b.space.Sync())
				}),
			}
		},
	},
	{
		// A process subscribes, while another one commits a version that does not list its
		// changes, and a third one anchors that version.
		Name: "subscribing", Kills: 1, Prepare: covered, After: (*Run).keeps,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(false)
			return []*Thread{
				r.thread(a, "subscriber", func() {
					err := a.space.Changes.Subscribe(subscriber, 0)
					if r.must("subscribing", err); err == nil {
						r.follow(a)
					}
				}),
				r.thread(b, "B", func() {
					r.setUnlisted(b, 2)
					r.must("sync", b.space.Sync())
					r.setUnlisted(b, 3)
					r.must("sync", b.space.Sync())
				}),
			}
		},
	},
	{
		// Two processes subscribe under one name, and one of them drops it again.
		Name: "two subscribers", Kills: 1, Prepare: covered, After: (*Run).keeps,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(false)
			subscribe := func(p *Process) {
				if err := p.space.Changes.Subscribe(subscriber, 0); !errors.Is(err, failure.ErrNotFound) { // the other process has dropped it already
					r.must("subscribing", err)
				}
			}
			return []*Thread{
				r.thread(a, "A", func() { subscribe(a); r.drop(a) }),
				r.thread(b, "B", func() { subscribe(b); r.setUnlisted(b, 2); r.confirm(b) }),
			}
		},
	},
	{
		// Two processes subscribe under one name.
		Name: "one name", Kills: 1, Prepare: covered, After: (*Run).keeps,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(false)
			return []*Thread{
				r.thread(a, "A", func() { r.must("subscribing", a.space.Changes.Subscribe(subscriber, 0)) }),
				r.thread(b, "B", func() { r.must("subscribing", b.space.Changes.Subscribe(subscriber, 0)); r.setUnlisted(b, 2) }),
			}
		},
	},
	{
		// A process anchors the newest version, while another one commits.
		Name: "anchors beside a subscriber", Kills: 1, Prepare: subscribed(64 << 20), After: (*Run).keeps,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(true), r.process(false)
			return []*Thread{
				r.thread(a, "A", func() { r.must("anchor", a.space.Anchor(false)) }),
				r.thread(b, "B", func() { r.set(b, 1, 1); r.set(b, 1, 2) }),
			}
		},
	},
	{
		// The journal continues in other segments. A subscription needs some of them, and a
		// recovery needs none.
		Name: "segments of a subscriber", Prepare: subscribed(64 << 20), After: (*Run).keeps,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			over := false
			return []*Thread{
				r.thread(a, "A", func() {
					r.synced(a)
					a.space.ReleaseJournal()
					r.must("anchor", a.space.Anchor(true))
					over = true
					r.synced(a)
				}),
				r.thread(b, "B", func() {
					r.await(&over)
					r.must("cutting", b.space.CutJournal())
					r.synced(b)
				}),
			}
		},
	},
	{
		// The same, and the subscription's limit is two segments.
		Name: "a slow subscriber", Prepare: subscribed(2 * format.SegmentSize), After: (*Run).keeps,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			return []*Thread{
				r.thread(a, "A", func() {
					for range 2 {
						r.synced(a)
						a.space.ReleaseJournal()
						r.must("anchor", a.space.Anchor(true))
					}
				}),
				r.thread(b, "B", func() { r.synced(b); r.confirm(b); r.synced(b) }),
			}
		},
	},
	{
		// Versions with asides. The subscription's limit is one aside in addition to its
		// segment.
		Name: "a slow subscriber and asides", Prepare: subscribed(format.SegmentSize + 300), After: (*Run).keeps,
		Threads: func(r *Run) []*Thread {
			a, b := r.process(false), r.process(false)
			return []*Thread{
				r.thread(a, "A", func() { r.setUnlisted(a, 1); r.setUnlisted(a, 2); r.setUnlisted(a, 3) }),
				r.thread(b, "B", func() { r.confirm(b) }),
			}
		},
	},
}

// subscriber is the name of the subscription.
const subscriber = "explored"

// subscribed makes a subscription with a limit, and a superfluous journal.
func subscribed(limit format.ByteCount) func(sp *engine.Space, w *World) error {
	return func(sp *engine.Space, w *World) error {
		if err := covered(sp, w); err != nil {
			return err
		}
		if err := sp.Changes.Subscribe(subscriber, max(limit, 4<<20)); err != nil {
			return err
		}
		lv, _ := sp.Parts()
		for i := range lv.Words().Subscriptions { // the limit may be below the least that users can set
			lv.Words().Subscriptions[i].Limit.Store(uint64(limit))
		}
		return nil
	}
}

// ended is a context that has ended.
func ended() context.Context {
	ctx, end := context.WithCancel(context.Background())
	end()
	return ctx
}

// framesAfter reads the frames after a version, and verifies that they have the committed
// changes.
func (r *Run) framesAfter(p *Process, from format.Version) (last format.Version, err error) {
	last = from
	var chain uint64
	for f, err := range p.space.Changes.Since(ended(), from) {
		if errors.Is(err, context.Canceled) {
			return last, nil
		}
		if err != nil {
			return last, err
		}
		if last++; f.Version != uint64(last) || chain != 0 && f.Before != chain {
			r.fail("the frame of version %d comes after that of version %d", f.Version, last-1)
		}
		chain = f.Chain
		for _, w := range r.writes {
			if w.version == last && w.outcome == committed && !bytes.Contains(f.Bytes, binary.LittleEndian.AppendUint64(nil, w.value<<8)) {
				r.fail("the frame of version %d, which has set %v to %d, tells something else", last, w.keys, w.value)
			}
		}
	}
	return last, nil
}

// follow reads the frames of the subscription, and confirms them.
func (r *Run) follow(p *Process) {
	from, err := p.space.Changes.Position(subscriber)
	if err != nil {
		r.must("the position", err)
		return
	}
	last, err := r.framesAfter(p, from)
	if err != nil {
		r.must("reading", err)
		return
	}
	r.must("confirming", p.space.Changes.Confirm(subscriber, last))
}

// confirm confirms the newest version, if the subscription exists and is not lost.
func (r *Run) confirm(p *Process) {
	newest, err := p.space.NewestVersion()
	r.must("the newest version", err)
	if err := p.space.Changes.Confirm(subscriber, newest); !errors.Is(err, failure.ErrNotFound) && !errors.Is(err, failure.ErrNotKept) {
		r.must("confirming", err)
	}
}

// drop drops the subscription, if it exists.
func (r *Run) drop(p *Process) {
	if err := p.space.Changes.Drop(subscriber); !errors.Is(err, failure.ErrNotFound) {
		r.must("dropping", err)
	}
}

// keeps verifies what the subscriptions keep, and that each has its file.
func (r *Run) keeps() {
	p := r.process(false)
	r.must("sync", p.space.Sync())
	newest, err := p.space.NewestVersion()
	r.must("the newest version", err)
	list, err := p.space.Changes.List()
	r.must("the subscriptions", err)
	if len(list) > 1 {
		r.fail("there are %d subscriptions of one name", len(list))
	}
	_, filed := r.filed()
	if died := r.processes[0].dead; len(list) == 1 && !filed && died { // it died while it dropped the subscription; the next subscriber completes the drop
		r.must("subscribing", p.space.Changes.Subscribe(subscriber, 0))
		list, err = p.space.Changes.List()
		r.must("the subscriptions", err)
	}
	for _, s := range list {
		if s.Lost {
			continue
		}
		if s.Kept > s.Limit { // CH2
			r.fail("%d bytes are kept for a subscription that may keep %d", s.Kept, s.Limit)
		}
		if last, err := r.framesAfter(p, s.Version); err != nil || last != newest { // CH1
			r.fail("the subscription is at version %d, and its frames end with version %d of %d: %v", s.Version, last, newest, err)
		}
		filed, ok := r.filed()
		if !ok || filed > newest { // CH5
			r.fail("the subscription is at version %d, and its file at version %d of %d (%v)", s.Version, filed, newest, ok)
		}
	}
	r.lookAtAsides(p)
}

// keepsFiled is keeps for scenarios in which only one process confirms: the file has the
// same version as live, or a later one if that process has died (CH5).
func (r *Run) keepsFiled() {
	r.keeps()
	at, err := r.processes[1].space.Changes.Position(subscriber)
	r.must("the position", err)
	if filed, ok := r.filed(); !ok || filed < at {
		r.fail("the subscription is at version %d, and its file at version %d (%v)", at, filed, ok)
	}
}

// filed returns the version in the file of the subscription.
func (r *Run) filed() (format.Version, bool) {
	b, err := os.ReadFile(filepath.Join(r.world.dir, "subscription-"+subscriber))
	if err != nil {
		return 0, false
	}
	s, ok := format.DecodeSubscription(b)
	return format.Version(s.Version), ok
}

// lookAtAsides verifies that the aside of each record exists that a recovery may replay (CH4).
func (r *Run) lookAtAsides(p *Process) {
	lv, _ := p.space.Parts()
	floor := lv.JournalFloor()
	b, err := r.world.journalFrames()
	r.must("the journal", err)
	r.must("the journal", eachRecord(b, func(h format.RecordHead, ops []byte) {
		if format.Version(h.Version) <= floor || !isAside(ops) || r.world.abandoned[recordName{h.Version, h.Chain}] {
			return
		}
		op, _, _, _ := format.NextOp(ops)
		if _, err := p.space.Changes.Recovered(h, op.Arg); err != nil {
			r.fail("a recovery would need the aside of version %d: %v", h.Version, err)
		}
	}))
}

// isKept reports whether a file belongs to a subscription or a replica, or is an aside.
func isKept(name string) bool {
	return name == format.ReplicaName || strings.HasPrefix(name, "subscription-") || strings.HasPrefix(name, "changes-")
}

// keptFiles reads all such files.
func (w *World) keptFiles() (map[string][]byte, error) {
	list, err := os.ReadDir(w.dir)
	files := map[string][]byte{}
	for _, e := range list {
		if isKept(e.Name()) && err == nil {
			files[e.Name()], err = os.ReadFile(filepath.Join(w.dir, e.Name()))
		}
	}
	return files, err
}

// resetKept restores these files.
func (w *World) resetKept() error {
	list, err := os.ReadDir(w.dir)
	for _, e := range list {
		if isKept(e.Name()) && err == nil {
			err = os.Remove(filepath.Join(w.dir, e.Name()))
		}
	}
	for name, b := range w.kept {
		if err == nil {
			err = os.WriteFile(filepath.Join(w.dir, name), b, 0o600)
		}
	}
	return err
}
