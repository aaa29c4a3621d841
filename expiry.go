package everheap

import (
	"time"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/index"
	"github.com/everheap/everheap/internal/indexing"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/typed"
)

// TTLOption says what a time to live is like.
type TTLOption uint8

// Fixed makes a time to live begin when a key is added, and not anew when its value changes.
const Fixed TTLOption = 1

// WithTTL gives the entries of a Map or a Sorted a time to live when it is opened: an entry expires that long after it
// was stored last, by Set, Modify or Upsert, and Touch makes it begin anew; with Fixed it expires that long after its
// key was added. Reading does not prolong it. A tag at a time.Time of the value, everheap:"expires", says the instant
// itself; the zero time is never.
//
// From the instant on, an entry is not there: not for Get, Peek, All, ranges, Len, Rank and indexes; a Watch is told
// once that it was removed; and to Set its key adds it. A transaction has one time for all that: the clock of the
// machine when it needs it first. An entry that was gone stays gone if the clock is put back. In the background some
// process removes what has expired, a little at a time, and gives way to others.
//
// It belongs to the collection, as an index does (see WithIndex): from now on all programs see it so, whatever options
// and tags they have; DropExpiry ends that. Entries that are there already live for d from now on. Another time to live
// is ErrExists, unless Evolve replaces it: then entries live as if it had been there before. Errors: ErrUnstorable if d
// is not positive, the keys have no order, or a tag says something else.
func WithTTL(d time.Duration, opts ...TTLOption) TypeOption {
	x := index.Expiry{TTL: d}
	for _, o := range opts {
		x.Fixed = x.Fixed || o == Fixed
	}
	return typeOption(func(s *typed.Options) {
		if s.Wish.Expiry = x; d <= 0 {
			s.Err = &TypeError{Kind: ErrUnstorable, Lines: []string{"a time to live of " + d.String() + " is none; give one that is greater than 0"}}
		}
	})
}

// SetTTL gives the collection with a name a time to live, as WithTTL does, in a program without its Go types. It
// replaces another one, and a field that says when entries expire.
func SetTTL(sc Scope, collection string, d time.Duration, opts ...TTLOption) error {
	set, err := typeOptions([]TypeOption{WithTTL(d, opts...)})
	if err != nil {
		return err
	}
	set.Wish.Replace = true
	return onCollection(sc, "time to live of ", collection, set.Wish.Declare)
}

// ExpireAt lets the entries of the collection with a name expire at the time in a field of their values, as the tag
// everheap:"expires" does. It replaces what was declared before.
func ExpireAt(sc Scope, collection, path string) error {
	wish := indexing.Wish{Expiry: index.Expiry{Path: path}, Replace: true}
	return onCollection(sc, "expiry of ", collection, wish.Declare)
}

// DropExpiry ends that the entries of the collection with a name expire, and reports whether they did. Those that have
// expired are gone. A program that still has the tag or option declares it again when it opens the collection.
func DropExpiry(sc Scope, collection string) (removed bool, err error) {
	err = onCollection(sc, "expiry of ", collection, func(ed *edit.Editor, id format.ID) (err error) {
		removed, err = indexing.DropExpiry(ed, id)
		return err
	})
	return removed, err
}

// onCollection runs fn, which changes a declaration of the collection with a name.
func onCollection(sc Scope, op, collection string, fn func(ed *edit.Editor, id format.ID) error) error {
	return editIn(sc, op+collection, func(tx *engine.Tx) error {
		id, err := tx.IDOf(collection)
		if err == nil {
			err = fn(&tx.Editor, id)
		}
		return err
	})
}

// Touch makes the time to live of an entry begin anew, if it has one that is not Fixed, and reports whether the entry
// is there.
func (m Map[K, V]) Touch(sc Scope, key K) (found bool, err error) { return touchEntry(sc, m.of(), key) }

// Touch is Map.Touch.
func (m Sorted[K, V]) Touch(sc Scope, key K) (found bool, err error) {
	return touchEntry(sc, m.of(), key)
}

// touchEntry is Touch.
func touchEntry[K comparable](sc Scope, of edit.MapOf, key K) (found bool, err error) {
	err = editIn(sc, "touch", func(tx *engine.Tx) (err error) { found, err = tx.Prolong(of, layout.NoEscapeKey(&key)); return err })
	return found, err
}
