//go:build explore

package explore

import (
	"fmt"
	"slices"

	"github.com/everheap/everheap/internal/explore/step"
	"github.com/everheap/everheap/internal/format"
)

const stepPoint = step.Point

// judge judges the result of a run, lets all live processes continue for a while, and judges
// again.
func (r *Run) judge() {
	for _, p := range r.processes {
		if p.space != nil && !p.dead && !p.closed {
			if lv, _ := p.space.Parts(); lv.Entry().Active.Load() != 0 {
				r.fail("process %d uses its lists still", p.id)
			}
			r.must(fmt.Sprintf("process %d finds damage", p.id), p.space.Doubt())
		}
	}
	v := r.process(false)
	if r.schedule.failure != "" {
		return
	}
	r.audit(v, "at the end")
	for round := range 2 {
		for _, p := range r.processes {
			if p.dead || p.closed || p.space == nil || r.schedule.failure != "" {
				continue
			}
			key := uint64(100 + 10*p.id + round)
			r.extra = append(r.extra, key)
			r.set(p, 2, key, uint64(round))
			r.set(p, 1, key)
		}
		if round == 0 && r.schedule.failure == "" {
			lv, _ := v.space.Parts()
			lv.Reap()
			_, err := v.space.Sweep()
			r.must("sweeping at the end", err)
		}
	}
	r.audit(v, "after everybody went on")
	if len(r.admitted) > 0 && r.schedule.mutant == "" { // a mutant must be found by the harm that it does
		r.fail("a fork was not refused %v", r.admitted)
	}
}

// audit verifies everything while no thread runs.
func (r *Run) audit(v *Process, when string) {
	if r.schedule.failure != "" {
		return
	}
	r.check(v, when)
	r.must(when+": what a recovery would start from", v.space.NewestOnDisk())
	r.owners(v, when)
	r.sweepDue(v, when)
	r.holes(when)
	r.records(when)
	r.must(when+": what is in the journal", v.space.Journaled())
	tx, err := v.space.View()
	if err != nil {
		r.fail("%s: %v", when, err)
		return
	}
	defer tx.EndView()
	got, err := r.read(tx)
	if err != nil {
		r.fail("%s: reading: %v", when, err)
		return
	}
	r.compare(got, when)
}

// sweepDue verifies that a sweep is due if an earlier one has begun, and so made all
// processes forget their lists, and did not finish. It first cleans up after dead processes,
// which may make a sweep due.
func (r *Run) sweepDue(v *Process, when string) {
	w := r.world.liveWords()
	lv, _ := v.space.Parts()
	lv.Reap()
	if epoch := w.Epoch.Load(); w.Swept.Load() != epoch && w.SweepWish.Load() == 0 {
		r.fail("%s: the sweep of epoch %d has come to no end, and none is due", when, epoch)
	}
}

// compare compares the contents of the map with the outcomes that the writers were told.
func (r *Run) compare(got map[uint64]uint64, when string) {
	want := map[uint64]*write{} // by key: the newest acknowledged transaction
	for _, w := range r.writes {
		if w.outcome != committed {
			continue
		}
		for _, key := range w.keys {
			if old := want[key]; old == nil || old.version < w.version {
				want[key] = w
			} else if old.version == w.version {
				r.fail("%s: two transactions were told to be version %d", when, w.version)
			}
		}
	}
	for key, value := range r.world.before {
		if want[key] == nil {
			want[key] = &write{value: value >> 8}
		}
	}
	for key, w := range want {
		value, ok := got[key]
		if ok && value == w.value<<8 || ok && r.perhaps(key, value) {
			continue
		}
		r.fail("%s: key %d has the value %d.%d (%v) instead of %d of version %d", when, key, value>>8, value&255, ok, w.value, w.version)
	}
	for key, value := range got {
		if want[key] == nil && !r.perhaps(key, value) {
			r.fail("%s: key %d has the value %d, which nobody has committed", when, key, value)
		}
	}
}

// perhaps reports whether the value is from a transaction whose process died in it.
func (r *Run) perhaps(key, value uint64) bool {
	return slices.ContainsFunc(r.writes, func(w *write) bool {
		return w.outcome == unknown && w.value<<8 == value && slices.Contains(w.keys, key)
	})
}

// owners verifies that each block has at most one owner: the reachable versions, the lists
// of one process, or one stack of batches. It returns how many bytes have no owner.
func (r *Run) owners(v *Process, when string) (unknown uint64) {
	words := r.world.liveWords()
	c := census{r: r, when: when, base: r.world.region.Base(), units: make([]uint8, words.Carved.Load()/16)}
	for _, p := range r.processes {
		if p.space == nil || p.dead || p.closed {
			continue
		}
		_, h := p.space.Parts()
		h.Census(c.as(fmt.Sprintf("the lists of process %d", p.id)))
	}
	_, h := v.space.Parts()
	if err := h.StackCensus(c.as("a stack of batches")); err != nil {
		r.fail("%s: %v", when, err)
	}
	reached := c.as("the newest version")
	if err := v.space.Reachable(func(a format.Addr, size format.ByteCount) {
		reached(a, size, false)
	}); err != nil {
		r.fail("%s: walking: %v", when, err)
	}
	for _, owner := range c.units[h.First()<<format.ExtentShift/16:] {
		if owner == 0 {
			unknown += 16
		}
	}
	return unknown
}

// A census notes an owner for every 16 bytes of the heap.
type census struct {
	r      *Run
	when   string
	base   uint64
	units  []uint8
	owners []string
}

// as returns a function that notes a block of an owner.
func (c *census) as(owner string) func(a format.Addr, size format.ByteCount, free bool) {
	c.owners = append(c.owners, owner)
	number := uint8(len(c.owners))
	return func(a format.Addr, size format.ByteCount, _ bool) {
		first, n := (uint64(a)-c.base)/16, uint64(size)/16
		if n == 0 || first+n > uint64(len(c.units)) {
			c.r.fail("%s: the block of %d bytes at %#x in %s lies nowhere", c.when, size, uint64(a), owner)
			return
		}
		for i := first; i < first+n; i++ {
			if other := c.units[i]; other != 0 {
				c.r.fail("%s: the block of %d bytes at %#x is in %s, and in %s", c.when, size, uint64(a), owner, c.owners[other-1])
				return
			}
			c.units[i] = number
		}
	}
}
