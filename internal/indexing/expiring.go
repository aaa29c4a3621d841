package indexing

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/everheap/everheap/internal/btree"
	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/layout"
)

// This file finds the expired entries of a map, and keeps the trees that find them (EX4, EX6 of
// package expiry). If the instant of an entry is in a field of its value, one tree finds due
// entries; it is kept like any index, and is in declared.list. If entries have a time to live, a
// second tree has the instant of each key.

// expiring says how the entries of a map expire, as a block of the registry declares it. It is
// never changed.
type expiring struct {
	index.Expiry
	at    *index.Index // index of the field; nil for a time to live
	due   *edit.Map
	until *edit.Map // nil if the instant is in a field
}

// addExpiry adds the declaration that the registry has under DueName or UntilName.
func (x *declared) addExpiry(k *Keeper, m *edit.Map, name string, d *index.Declaration) error {
	e, ok := index.ExpiryOf(d.Paths)
	if !ok {
		return &format.DamageError{File: "heap", What: "the registry of indexes declares an unknown kind of expiry"}
	}
	tree := edit.SortedAt(d.Tree.ID.Index(), k.tree)
	if x.expiry == nil {
		x.expiry = &expiring{Expiry: e}
	}
	if name == index.UntilName {
		x.expiry.until = tree
		return nil
	}
	x.expiry.due = tree
	if e.Path == "" {
		return nil
	}
	at, err := index.CompileDue(e.Path, m.Shape().Key, m.Shape().Value)
	if err != nil {
		return err
	}
	x.expiry.at = at
	x.list, x.tree = append(x.list, at), append(x.tree, tree)
	return nil
}

// whole reports whether the declaration of the expiry is complete: a salvage can lose parts of it.
func (x *expiring) whole() bool {
	return x != nil && x.due != nil && (x.at != nil || x.until != nil)
}

// ttl returns the expiry if entries have a time to live, else nil.
func (x *declared) ttl() *expiring {
	if x.expiry.whole() && x.expiry.at == nil {
		return x.expiry
	}
	return nil
}

// roomForTimes is scratch space for readers, which share the keeper.
var roomForTimes = sync.Pool{New: func() any { return new(index.Times) }}

// instant returns the instant at which an entry expires; the zero time if it never does.
func (x *expiring) instant(ed *edit.Editor, m *edit.Map, e unsafe.Pointer) (time.Time, error) {
	b, sh := ed.Bounds(e), m.Shape()
	if x.at != nil {
		return x.at.Instant(sh.ValueOf(e), b)
	}
	t := roomForTimes.Get().(*index.Times)
	defer roomForTimes.Put(t)
	if err := t.Of(sh.Key, sh.KeyOf(e), b); err != nil {
		return time.Time{}, err
	}
	return x.instantOf(ed, t)
}

// instantOf returns the instant at which the entry of a key expires, if entries have a time to
// live; the zero time if the tree has none.
func (x *expiring) instantOf(ed *edit.Editor, t *index.Times) (time.Time, error) {
	root, err := x.until.Object(ed)
	if err != nil {
		return time.Time{}, err
	}
	form, _, err := atLeast(ed, x.until, root, t.Key())
	if err != nil || form == "" {
		return time.Time{}, err
	}
	at, _ := t.Instant(unsafe.Slice(unsafe.StringData(form), len(form)))
	return at, nil
}

// atLeast returns the first form of a tree that is not less than b; "" if there is none.
func atLeast(ed *edit.Editor, tree *edit.Map, root *format.MapObject, b []byte) (form string, at int, err error) {
	text := unsafe.String(unsafe.SliceData(b), len(b))
	e, err := btree.AtLeast(ed.Reader, format.Link(root.Root), tree.Shape(), layout.NoEscape(&text))
	if err != nil || e == nil {
		return "", 0, err
	}
	return formIn(ed, tree, e)
}

// isPast reports whether an entry with an instant has expired at a time (EX1).
func isPast(instant time.Time, at int64) bool {
	return !instant.IsZero() && !instant.After(time.Unix(0, at))
}

// nanoseconds returns an instant as the clock counts it, limited to the clock's range.
func nanoseconds(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, 0)):
		return 0
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

// Gone implements edit.Keeper.
func (k *Keeper) Gone(ed *edit.Editor, m *edit.Map, e unsafe.Pointer) (bool, error) {
	x, err := indexesOf(ed, m)
	if err != nil || !x.expiry.whole() {
		return false, err
	}
	return x.expiry.gone(ed, m, e, ed.Time())
}

// Judge implements edit.Keeper.
func (k *Keeper) Judge(ed *edit.Editor, m *edit.Map) (func(e unsafe.Pointer) (bool, error), error) {
	x, err := indexesOf(ed, m)
	if err != nil || !x.expiry.whole() {
		return func(unsafe.Pointer) (bool, error) { return false, nil }, err
	}
	at := ed.Time()
	return func(e unsafe.Pointer) (bool, error) { return x.expiry.gone(ed, m, e, at) }, nil
}

// gone reports whether an entry has expired at a time. It tells the clock before it says so: then
// later times agree (EX2).
func (x *expiring) gone(ed *edit.Editor, m *edit.Map, e unsafe.Pointer, at int64) (bool, error) {
	instant, err := x.instant(ed, m, e)
	if err != nil || !isPast(instant, at) {
		return false, err
	}
	ed.Store().Clock().Passed(nanoseconds(instant))
	return true, nil
}

// pastEnd returns a string that is greater than every form that is due at a time, and less than
// every other.
func pastEnd(at int64) []byte { return index.After(index.AppendInstant(nil, time.Unix(0, at))) }

// CountGone implements edit.Keeper.
func (k *Keeper) CountGone(ed *edit.Editor, m *edit.Map) (n uint64, err error) {
	x, err := indexesOf(ed, m)
	if err != nil || !x.expiry.whole() {
		return 0, err
	}
	root, err := x.expiry.due.Object(ed)
	if err != nil {
		return 0, err
	}
	at := ed.Time()
	b := pastEnd(at)
	text := unsafe.String(unsafe.SliceData(b), len(b))
	n, _, err = btree.Rank(ed.Reader, format.Link(root.Root), x.expiry.due.Shape(), layout.NoEscape(&text))
	if n > 0 {
		ed.Store().Clock().Passed(at)
	}
	return n, err
}

// eachGone calls yield with the entries that have expired for the transaction.
func eachGone(ed *edit.Editor, m *edit.Map, yield func(e unsafe.Pointer) bool) error {
	x, err := indexesOf(ed, m)
	if err != nil || !x.expiry.whole() {
		return err
	}
	at := ed.Time()
	return x.expiry.each(ed, m, nil, pastEnd(at), func(e unsafe.Pointer) bool {
		ed.Store().Clock().Passed(at)
		return yield(e)
	})
}

// GoneRanks implements edit.Keeper.
func (k *Keeper) GoneRanks(ed *edit.Editor, m *edit.Map, object *format.MapObject) (ranks []uint64, err error) {
	var failed error
	err = eachGone(ed, m, func(e unsafe.Pointer) bool {
		var key unsafe.Pointer
		var n uint64
		if key, failed = m.Shape().StoredKey(ed.Reader, e); failed == nil {
			n, _, failed = btree.Rank(ed.Reader, format.Link(object.Root), m.Shape(), key)
		}
		ranks = append(ranks, n)
		return failed == nil
	})
	if failed != nil {
		return nil, failed
	}
	slices.Sort(ranks)
	return ranks, err
}

// each calls yield with the entries whose forms in the tree of due entries lie between two bounds;
// a nil bound is none.
func (x *expiring) each(ed *edit.Editor, m *edit.Map, from, to []byte, yield func(e unsafe.Pointer) bool) error {
	object, err := m.Object(ed)
	if err != nil {
		return err
	}
	root, err := x.due.Object(ed)
	if err != nil {
		return err
	}
	of, were := *object, *root
	var failed error
	err = walkForms(ed, x.due, &were, from, to, false, func(form string, at int) bool {
		var e unsafe.Pointer
		if e, failed = entryOf(ed, m, &of, form, at); failed == nil && e == nil {
			failed = errNotDue
		}
		return failed == nil && yield(e)
	})
	return errors.Join(failed, err)
}

var errNotDue = &format.DamageError{File: "heap", What: "the tree of expiring entries has a key that the map lacks; drop the expiry of the collection and declare it again"}

// entryOf returns the entry whose key begins at a place in a form; nil if the map lacks it.
func entryOf(ed *edit.Editor, m *edit.Map, object *format.MapObject, form string, at int) (unsafe.Pointer, error) {
	if m.Shape().Key.IsString() {
		key := form[at:]
		return m.Find(ed, object, layout.NoEscape(&key))
	}
	key, keep, err := index.ReadKeyOf(m.Shape().Key, unsafe.Slice(unsafe.StringData(form), len(form)), at)
	if err != nil {
		return nil, err
	}
	defer keep.Done()
	return m.Find(ed, object, key)
}

// walkForms calls yield with the forms of a tree between two bounds; a nil bound is none.
func walkForms(ed *edit.Editor, tree *edit.Map, root *format.MapObject, from, to []byte, back bool, yield func(form string, at int) bool) error {
	var ends [2]edit.Bound
	var texts [2]string
	for i, b := range [2][]byte{from, to} {
		if b != nil {
			texts[i] = unsafe.String(unsafe.SliceData(b), len(b))
			ends[i].Key = unsafe.Pointer(&texts[i])
		}
	}
	var failed error
	err := tree.Between(ed, root, ends[0], ends[1], back, func(e unsafe.Pointer) bool {
		var form string
		var at int
		form, at, failed = formIn(ed, tree, e)
		return failed == nil && yield(form, at)
	})
	if failed != nil {
		return failed
	}
	return err
}

// NextInstant implements edit.Keeper.
func (k *Keeper) NextInstant(ed *edit.Editor, m *edit.Map, after int64) (int64, error) {
	x, err := indexesOf(ed, m)
	if err != nil || !x.expiry.whole() {
		return 0, err
	}
	root, err := x.expiry.due.Object(ed)
	if err != nil {
		return 0, err
	}
	form, _, err := atLeast(ed, x.expiry.due, root, pastEnd(after))
	if err != nil || form == "" {
		return 0, err
	}
	t, err := index.ReadInstant(unsafe.Slice(unsafe.StringData(form), len(form)))
	return nanoseconds(t), err
}

// Renew implements edit.Keeper.
func (k *Keeper) Renew(ed *edit.Editor, m *edit.Map, e unsafe.Pointer) error {
	x, err := indexesOf(ed, m)
	if err != nil {
		return err
	}
	if ttl := x.ttl(); ttl == nil || ttl.Fixed {
		return nil
	}
	ed.BorrowPart(edit.StoredPart{Pointer: e, Bounds: ed.Bounds(e)}) // Set reads it while it replaces it
	return k.Set(ed, m, m.Shape().KeyOf(e), m.Shape().ValueOf(e))
}

// lifetime is the effect of a change on the time to live of an entry.
type lifetime struct {
	of         *expiring
	was, until time.Time // instants before and after the change; zero: none

	times index.Times
	last  []byte // form of the key, with which the form in the tree of due entries ends
	form  []byte
}

// begin finds when an entry expires before the change; old is the stored entry, or nil.
func (l *lifetime) begin(ed *edit.Editor, m *edit.Map, of *expiring, key, old unsafe.Pointer) (err error) {
	l.of, l.was, l.until = of, time.Time{}, time.Time{}
	if of == nil {
		return nil
	}
	if err := l.times.Of(m.Shape().Key, key, everywhere); err != nil {
		return err
	}
	if l.last, err = m.Shape().Key.AppendOrdered(l.last[:0], key, everywhere, layout.Last); err != nil {
		return err
	}
	if old != nil {
		l.was, err = of.instantOf(ed, &l.times)
	}
	return err
}

// set notes that the entry is stored at a time.
func (l *lifetime) set(at int64) {
	if l.of == nil {
		return
	}
	if l.until = time.Unix(0, at).Add(l.of.TTL); l.of.Fixed && !l.was.IsZero() && !isPast(l.was, at) {
		l.until = l.was
	}
}

// end changes the trees. After an error the transaction can only abort.
func (l *lifetime) end(ed *edit.Editor) error {
	if l.of == nil || l.was.Equal(l.until) {
		return nil
	}
	for _, t := range [2]time.Time{l.was, l.until} {
		if t.IsZero() {
			continue
		}
		l.form = append(index.AppendInstant(l.form[:0], t), l.last...)
		for _, in := range [2]struct {
			tree *edit.Map
			form []byte
			key  int
		}{{l.of.due, l.form, index.InstantSize}, {l.of.until, l.times.Until(t), len(l.times.Key())}} {
			if t == l.until {
				if err := putForm(ed, in.tree, in.form, in.key); err != nil {
					return err
				}
				continue
			}
			if err := dropForm(ed, in.tree, in.form); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropForm removes a form from one of the trees that find due entries.
func dropForm(ed *edit.Editor, tree *edit.Map, form []byte) error {
	text := unsafe.String(unsafe.SliceData(form), len(form))
	removed, err := tree.RemoveAlone(ed, layout.NoEscape(&text))
	if err == nil && !removed {
		err = &format.DamageError{File: "heap", What: "the tree of expiring entries lacks an entry"}
	}
	if err != nil {
		return ed.Fail(err)
	}
	return nil
}

// RemoveGone removes entries that have expired for the transaction, in the order in which they
// expired. After each it calls stop with how many it has removed, and ends if stop returns true. It
// reports whether expired entries remain.
func RemoveGone(ed *edit.Editor, id format.ID, stop func(removed int) bool) (removed int, more bool, err error) {
	m, _, err := ed.MapByID(id)
	if err != nil || !m.Expires() {
		return 0, false, err
	}
	x, err := indexesOf(ed, m)
	if err != nil || !x.expiry.whole() {
		return 0, false, err
	}
	if err := ed.BeginChange(); err != nil {
		return 0, false, err
	}
	defer ed.EndChange()
	return x.expiry.remove(ed, m, stop, func(key unsafe.Pointer) (bool, error) {
		there, _, err := keeperOf(ed).remove(ed, m, key)
		return there, err
	})
}

// chunk is how many entries are listed and then removed: the walk over the tree ends before the
// removals.
const chunk = 32

// remove is RemoveGone with a function that removes one entry.
func (x *expiring) remove(ed *edit.Editor, m *edit.Map, stop func(removed int) bool, remove func(key unsafe.Pointer) (bool, error)) (removed int, more bool, err error) {
	to := pastEnd(ed.Time())
	var forms []string
	var places []int
	for {
		root, err := x.due.Object(ed)
		if err != nil {
			return removed, false, err
		}
		were := *root
		forms, places = forms[:0], places[:0]
		err = walkForms(ed, x.due, &were, nil, to, false, func(form string, at int) bool {
			forms, places = append(forms, string([]byte(form))), append(places, at)
			return len(forms) < chunk
		})
		if err != nil || len(forms) == 0 {
			return removed, false, err
		}
		for i, form := range forms {
			if stop != nil && stop(removed) {
				return removed, true, nil
			}
			key, keep, err := index.ReadKeyOf(m.Shape().Key, []byte(form), places[i])
			if err != nil {
				return removed, false, err
			}
			there, err := remove(key)
			if keep.Done(); err == nil && !there {
				err = errNotDue
			}
			if err != nil {
				return removed, false, err
			}
			removed++
		}
	}
}

// ExpiringMaps lists the maps whose entries expire.
func ExpiringMaps(ed *edit.Editor) (list []format.ID, err error) {
	err = declarations(ed, edit.Bound{}, edit.Bound{}, func(of index.Of, _ *index.Declaration) error {
		if of.Name == index.DueName {
			list = append(list, format.MakeID(ed.Tag(), of.Map))
		}
		return nil
	})
	return slices.Compact(list), err
}

// NextGone returns the first instant at which an entry of a map expires, or has expired; 0 if none
// does.
func NextGone(ed *edit.Editor, id format.ID) (int64, error) {
	m, _, err := ed.MapByID(id)
	if err != nil || !m.Expires() {
		return 0, err
	}
	x, err := indexesOf(ed, m)
	if err != nil || !x.expiry.whole() {
		return 0, err
	}
	root, err := x.expiry.due.Object(ed)
	if err != nil || root.Count == 0 {
		return 0, err
	}
	form, _, err := atLeast(ed, x.expiry.due, root, nil)
	if err != nil || form == "" {
		return 0, err
	}
	t, err := index.ReadInstant(unsafe.Slice(unsafe.StringData(form), len(form)))
	return max(nanoseconds(t), 1), err
}

// verifyTimes compares the trees of a time to live with the entries of the map.
func verifyTimes(ed *edit.Editor, m *edit.Map, object *format.MapObject, x *expiring, find func(object uint64, what string)) error {
	due, err := x.due.Object(ed)
	if err != nil {
		return err
	}
	until, err := x.until.Object(ed)
	if err != nil {
		return err
	}
	if due.Count != object.Count || until.Count != object.Count {
		find(m.Index(), fmt.Sprintf("of %d entries, %d and %d have an instant at which they expire in the two trees", object.Count, until.Count, due.Count))
	}
	var failed error
	lacks := 0
	err = m.Each(ed, object, func(e unsafe.Pointer) bool {
		var t time.Time
		if t, failed = x.instant(ed, m, e); failed != nil {
			return false
		}
		b := index.AppendInstant(nil, t)
		if b, failed = m.Shape().Key.AppendOrdered(b, m.Shape().KeyOf(e), ed.Bounds(e), layout.Last); failed != nil {
			return false
		}
		text := string(b)
		var found unsafe.Pointer
		if found, failed = x.due.Find(ed, due, layout.NoEscape(&text)); failed != nil {
			return false
		}
		if t.IsZero() || found == nil || *(*uint32)(x.due.Shape().ValueOf(found)) != index.InstantSize {
			lacks++
		}
		return true
	})
	if lacks > 0 {
		find(m.Index(), fmt.Sprintf("%d entries have no instant at which they expire, or the tree of due entries lacks them", lacks))
	}
	return errors.Join(failed, err)
}
