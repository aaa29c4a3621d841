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

// What a transaction sees of maps whose entries expire: package expiry has the argument. All that
// is in this file costs a map of another kind the look at one bit.

// Clock says what time it is for the transactions of a space: nanoseconds since 1970.
type Clock interface {
	// Now returns the time. It is never earlier than what Passed was told.
	Now() int64
	// Passed says that something was found that has expired at the instant (EX2).
	Passed(instant int64)
}

// SetClock sets the clock by which entries expire.
func (s *Store) SetClock(c Clock) { s.clock = c }

// Clock returns it.
func (s *Store) Clock() Clock { return s.clock }

// Time returns the time that the transaction has: that of its first look (EX1). A reading one
// without a handle is one operation, and looks once.
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
		own := new(binding) // its own, since others share what is bound
		if b != nil {
			*own = *b
		}
		if own.time = ed.store.clock.Now(); ed.first.CompareAndSwap(b, own) {
			return own.time
		}
	}
}

// onceNow returns what a word holds, and lets it hold the time if it holds none.
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

// hidden returns the transaction for a call of the keeper. One that has no handle may be on the stack,
// and stays there: the keeper, whose calls the compiler cannot follow, gets a copy.
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

// onlyPresent passes those entries of a walk on that the transaction sees.
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

// nth returns the entry of a sorted map with i keys before it, or behind it, that the transaction
// sees; nil if there is none.
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

// Prolong makes the entry of a key begin its time to live anew, if it has one that is not fixed, and
// reports whether it is there. It stores what is stored, so that the instant of an entry is that of
// its block (EX6).
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

// Instants are the times at which two versions are looked at that are compared (EX5).
type Instants struct{ Was, Now int64 }

// compareMap compares a map, whose object is p, with what it was; nil if nobody sees a difference.
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
	if c == nil { // the map is the same block in both
		c = &Comparison{was, now, &object.Comparison{Key: m.shape.Key, Value: m.shape.Value, KeyOf: m.shape.KeyOf, ValueOf: m.shape.ValueOf,
			Step: func(func(object.Pair)) (bool, error) { return false, nil }}}
	}
	c.Step = now.store.keeper.Seen(was, now, old, m, at, c.Step)
	return c, nil
}

// nextInstant returns the first instant after another at which an entry of a version expires, in
// nanoseconds since 1970; 0: none.
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
