package edit

import (
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/everheap/everheap/internal/btree"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/object"
)

// What a transaction sees of maps whose entries expire: package expiry has the argument. For any
// other map, everything in this file costs a test of one bit.

// Clock is the clock of the transactions of a space, in nanoseconds since 1970.
type Clock interface {
	// Now returns the time. It is never earlier than an instant that Passed was told.
	Now() int64
	// Passed says that a transaction has found an entry that expired at the instant (EX2).
	Passed(instant int64)
}

// SetClock sets the clock by which entries expire.
func (s *Store) SetClock(c Clock) { s.clock = c }

// Clock returns the clock by which entries expire.
func (s *Store) Clock() Clock { return s.clock }

// Time returns the time of the transaction, which is that of its first call of Time (EX1). A
// reading editor without a handle runs one operation, and calls the clock once.
func (ed *Editor) Time() int64 {
	if ed.Making != &reading {
		return onceNow(&ed.time, ed.store.clock)
	}
	if ed.Found == nil {
		return ed.store.clock.Now()
	}
	for {
		b := ed.first.Load()
		if b != nil && b.time != 0 {
			return b.time
		}
		own := new(binding) // a copy of its own, since other transactions share the binding
		if b != nil {
			*own = *b
		}
		if own.time = ed.store.clock.Now(); ed.first.CompareAndSwap(b, own) {
			return own.time
		}
	}
}

// onceNow returns the time in a word, after storing the clock's there if the word was 0.
func onceNow(word *atomic.Int64, c Clock) int64 {
	if t := word.Load(); t != 0 {
		return t
	}
	word.CompareAndSwap(0, c.Now())
	return word.Load()
}

// Expires reports whether entries of the map expire.
func (m *Map) Expires() bool { return m.key&format.Expiring != 0 }

// present returns the entry with a key, if the transaction sees it.
func (m *Map) present(ed *Editor, object *format.MapObject, key unsafe.Pointer) (unsafe.Pointer, error) {
	e, err := m.find(ed, object, key)
	if err == nil && e != nil && m.Expires() {
		var gone bool
		if gone, err = ed.store.keeper.Gone(ed.hidden(), m, e); gone {
			e = nil
		}
	}
	return e, err
}

// hidden returns the editor to pass to the keeper. The compiler cannot see that the keeper does not
// keep its argument, and would move the editor to the heap of Go: so an editor without a handle,
// which may be on the stack, stays there, and the keeper gets a copy.
func (ed *Editor) hidden() *Editor {
	if ed.Making == &reading && ed.Found == nil {
		return &Editor{Making: ed.Making, store: ed.store, Reader: ed.Reader, State: ed.State}
	}
	return (*Editor)(layout.NoEscapeKey(ed))
}

// allPresent is all for the entries that the transaction sees.
func (m *Map) allPresent(ed *Editor, object *format.MapObject, yield func(entry unsafe.Pointer) bool) error {
	return m.onlyPresent(ed, yield, func(yield func(entry unsafe.Pointer) bool) error { return m.all(ed, object, yield) })
}

// walkPresent is walk for the entries that the transaction sees.
func (m *Map) walkPresent(ed *Editor, object *format.MapObject, from, to Bound, back bool, yield func(entry unsafe.Pointer) bool) error {
	return m.onlyPresent(ed, yield, func(yield func(entry unsafe.Pointer) bool) error {
		return m.walk(ed, object, from, to, back, yield)
	})
}

// onlyPresent passes on those entries of a walk that the transaction sees.
func (m *Map) onlyPresent(ed *Editor, yield func(entry unsafe.Pointer) bool, walk func(yield func(entry unsafe.Pointer) bool) error) error {
	if !m.Expires() {
		return walk(yield)
	}
	isGone, err := ed.store.keeper.Judge(ed, m)
	if err != nil {
		return err
	}
	var failed error
	err = walk(func(e unsafe.Pointer) bool {
		var gone bool
		gone, failed = isGone(e)
		return failed == nil && (gone || yield(e))
	})
	if failed != nil {
		return failed
	}
	return err
}

// count returns how many entries the transaction sees.
func (m *Map) count(ed *Editor, object *format.MapObject) (uint64, error) {
	if !m.Expires() {
		return object.Count, nil
	}
	gone, err := ed.store.keeper.CountGone(ed.hidden(), m)
	return object.Count - min(gone, object.Count), err
}

// rank returns how many keys of a sorted map that the transaction sees are less than the key.
func (m *Map) rank(ed *Editor, object *format.MapObject, key unsafe.Pointer) (uint64, error) {
	n, _, err := btree.Rank(ed.Reader, format.Link(object.Root), m.shape, key)
	if err != nil || !m.Expires() {
		return n, err
	}
	ranks, err := ed.store.keeper.GoneRanks(ed, m, object)
	less, _ := slices.BinarySearch(ranks, n)
	return n - uint64(less), err
}

// nth returns the entry of a sorted map that has i entries before it, or, with back, after it, of
// those that the transaction sees; nil if there is no such entry.
func (m *Map) nth(ed *Editor, object *format.MapObject, i uint64, back bool) (unsafe.Pointer, error) {
	count := object.Count
	var ranks []uint64
	if m.Expires() {
		var err error
		if ranks, err = ed.store.keeper.GoneRanks(ed, m, object); err != nil {
			return nil, err
		}
		count -= min(uint64(len(ranks)), count)
	}
	if i >= count {
		return nil, nil
	}
	if back {
		i = count - 1 - i
	}
	for _, r := range ranks {
		if r > i {
			break
		}
		i++
	}
	return btree.Nth(ed.Reader, format.Link(object.Root), i)
}

// Prolong restarts the time to live of the entry with a key, unless its instant is fixed, and
// reports whether the entry exists. It stores the same value again, so that the instant of the
// entry is that of its block (EX6).
func (ed *Editor) Prolong(of MapOf, key unsafe.Pointer) (bool, error) {
	if err := ed.writable(); err != nil {
		return false, err
	}
	defer ed.EndChange()
	m, object, err := ed.Bind(of)
	if err != nil {
		return false, err
	}
	if key, err = m.shape.Key.Stored(key); err != nil {
		return false, err
	}
	e, err := m.present(ed, object, key)
	if err != nil || e == nil || !m.Expires() {
		return e != nil, err
	}
	return true, ed.store.keeper.Renew(ed, m, e)
}

// Instants are the times at which a comparison looks at its two versions (EX5).
type Instants struct{ Was, Now int64 }

// compareMap compares a map, whose object is p, with the same map of the older version; nil if no
// difference is visible.
func compareMap(was, now *Editor, m *Map, p *format.MapObject, at Instants) (*Comparison, error) {
	c, err := CompareObject(was, now, m.kind, m.index, unsafe.Pointer(p), object.Layout{Shape: m.shape})
	if err != nil || was == nil && !m.Expires() {
		return c, err
	}
	old := m
	if was != nil {
		before, err := was.entriesObject(m.index, m.kind)
		if err == nil && (before.Key != m.key || before.Value != m.value) {
			old, _, err = was.untypedMap(m.ID(was))
		}
		if err != nil || !m.Expires() && !old.Expires() {
			return c, err
		}
	}
	if c == nil { // both versions have the same block
		c = &Comparison{was, now, &object.Comparison{Key: m.shape.Key, Value: m.shape.Value, KeyOf: m.shape.KeyOf, ValueOf: m.shape.ValueOf,
			Step: func(func(object.Pair)) (bool, error) { return false, nil }}}
	}
	c.Step = now.store.keeper.Seen(was, now, old, m, at, c.Step)
	return c, nil
}

// nextInstant returns the first instant later than after at which an entry of the version expires,
// in nanoseconds since 1970; 0 if none does.
func (ed *Editor) nextInstant(id format.ID, after int64) (int64, error) {
	kind := ed.KindOf(id)
	if kind != format.KindMap && kind != format.KindSorted {
		return 0, nil
	}
	m, _, err := ed.untypedMap(id)
	if err != nil || !m.Expires() {
		return 0, err
	}
	return ed.store.keeper.NextInstant(ed, m, after)
}

// NextInstant implements Subject.
func (of MapOf) NextInstant(ed *Editor, after int64) (int64, error) {
	return ed.nextInstant(of.ID, after)
}

// NextInstant implements Subject.
func (of StoredOf) NextInstant(ed *Editor, after int64) (int64, error) {
	return ed.nextInstant(of.ID, after)
}

// NextInstant implements Subject: elements do not expire.
func (of ListOf) NextInstant(*Editor, int64) (int64, error) { return 0, nil }

// NextInstant implements Subject: a single value does not expire.
func (of RefOf) NextInstant(*Editor, int64) (int64, error) { return 0, nil }
