package indexing

import (
	"errors"
	"unsafe"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/object"
)

// seen is a comparison of a map in two versions, each at an instant (EX5). It first finds the
// differences in the blocks, and then the entries that are the same block in both versions and have
// expired between the two instants.
type seen struct {
	was, now *edit.Editor // was is nil if there is no older version
	old, m   *edit.Map
	at       edit.Instants
	step     edit.Step     // finds the differences in the blocks; nil once it has found all
	rest     []object.Pair // the pairs that have expired in between
}

// Seen implements edit.Keeper.
func (k *Keeper) Seen(was, now *edit.Editor, old, m *edit.Map, at edit.Instants, step edit.Step) edit.Step {
	s := &seen{was: was, now: now, old: old, m: m, at: at, step: step}
	return s.next
}

// next is one step of the comparison.
func (s *seen) next(yield func(object.Pair)) (more bool, err error) {
	if s.step == nil {
		n := min(len(s.rest), 64)
		for _, p := range s.rest[:n] {
			yield(p)
		}
		s.rest = s.rest[n:]
		return len(s.rest) > 0, nil
	}
	var failed error
	more, err = s.step(func(p object.Pair) {
		if failed == nil && s.was != nil {
			failed = see(s.was, s.old, &p.Was, s.at.Was)
		}
		if failed == nil {
			failed = see(s.now, s.m, &p.Now, s.at.Now)
		}
		if p.Was != nil || p.Now != nil {
			yield(p)
		}
	})
	if failed != nil {
		return false, failed
	}
	if err != nil || more {
		return more, err
	}
	if s.step = nil; s.was != nil {
		err = between(s.was, s.now, s.old, s.m, s.at, func(e unsafe.Pointer) { s.rest = append(s.rest, object.Pair{Was: e}) })
	}
	return len(s.rest) > 0, err
}

// see sets an entry to nil if it has expired at an instant.
func see(ed *edit.Editor, m *edit.Map, e *unsafe.Pointer, at int64) error {
	if *e == nil || !m.Expires() {
		return nil
	}
	x, err := indexesOf(ed, m)
	if err != nil || !x.expiry.whole() {
		return err
	}
	gone, err := x.expiry.gone(ed, m, *e, at)
	if gone {
		*e = nil
	}
	return err
}

// between calls yield with each entry that is the same block in both versions, is visible in the
// older one at its instant, and is not visible in the newer one at its own. If the tree of due
// entries is the same object in both versions, such an entry has the same instant in both (EX6): so
// the tree of the older version finds it between the two instants. Otherwise a declaration came in
// between, and between looks at all entries.
func between(was, now *edit.Editor, old, m *edit.Map, at edit.Instants, yield func(e unsafe.Pointer)) error {
	x, err := indexesOf(now, m)
	if err != nil || !x.expiry.whole() {
		return err
	}
	before := &declared{}
	if old.Indexed() {
		if before, err = indexesOf(was, old); err != nil {
			return err
		}
	}
	object, err := m.Object(now)
	if err != nil {
		return err
	}
	var failed error
	look := func(e unsafe.Pointer) bool {
		var other unsafe.Pointer
		if other, failed = m.Find(now, object, old.Shape().KeyOf(e)); failed != nil || other != e {
			return failed == nil
		}
		var gone bool
		if gone, failed = x.expiry.gone(now, m, e, at.Now); gone {
			yield(e)
		}
		return failed == nil
	}
	if before.expiry.whole() && before.expiry.due.Index() == x.expiry.due.Index() {
		err = before.expiry.each(was, old, pastEnd(at.Was), pastEnd(at.Now), look)
		return errors.Join(failed, err)
	}
	former, err := old.Object(was)
	if err != nil {
		return err
	}
	err = old.Each(was, former, func(e unsafe.Pointer) bool {
		if before.expiry.whole() {
			var gone bool
			if gone, failed = before.expiry.gone(was, old, e, at.Was); failed != nil || gone {
				return failed == nil
			}
		}
		return look(e)
	})
	return errors.Join(failed, err)
}
