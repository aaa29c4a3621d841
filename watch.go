package everheap

import (
	"context"
	"iter"

	"github.com/everheap/everheap/internal/engine"
	"github.com/everheap/everheap/internal/layout"
)

// Changes returns the numbers of versions that are newer than the one that is newest
// when the loop starts. Each is the newest one there is when the loop comes back for
// it: versions that were committed while its body ran are passed over, but never the
// last one. Commits of all processes count, also those that change nothing that the
// program knows of, such as a checkpoint. Between two versions nothing is held.
//
// The loop ends with an error, in its last round: that of the context when it ends,
// ErrClosed when this handle is closed. Leaving it earlier is fine. Waiting costs no
// processor time, and no thread for each loop.
func (s *Space) Changes(ctx context.Context) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		version, err := s.locks.NewestVersion()
		for err == nil {
			if version, err = s.locks.AwaitVersion(ctx, version); err == nil && !yield(Version(version), nil) {
				return
			}
		}
		yield(0, s.wrapWatch("changes", err))
	}
}

// Change is one key whose value differs between two versions. It is all the caller's
// own: the values are copies.
type Change[K comparable, V any] struct {
	// Version is the newer of the two: the newest one when the watcher looked.
	Version Version
	// Key is the key of the entry; the index of the element of a list; of a single
	// value the reference.
	Key K
	// Old is the value in the older version, nil if the key was not there.
	Old *V
	// New is the value in the newer version, nil if the key is not there any more.
	New *V
	// More says that there are more changes of the same version. Who applies changes
	// up to one without More has a version whole, and nothing between two.
	More bool
}

// Kind says what became of the key.
func (c Change[K, V]) Kind() ChangeKind { return kindOf(c.Old != nil, c.New != nil) }

// ChangeKind is what became of a key.
type ChangeKind int

// The kinds of changes.
const (
	Added   ChangeKind = iota + 1 // it was not there
	Updated                       // it has another value
	Removed                       // it is not there any more
)

// String names the kind: added, updated or removed.
func (k ChangeKind) String() string {
	switch k {
	case Added:
		return "added"
	case Updated:
		return "updated"
	case Removed:
		return "removed"
	}
	return "none"
}

// kindOf returns the kind of a change from whether the key was there and is there.
func kindOf(was, is bool) ChangeKind {
	switch {
	case was && is:
		return Updated
	case is:
		return Added
	case was:
		return Removed
	}
	return 0
}

// WatchOption says how something is watched.
type WatchOption interface{ applyWatch(*watchSettings) }

// watchSettings is what the options add up to.
type watchSettings struct{ initial bool }

// watchOption is a WatchOption made of a function.
type watchOption func(*watchSettings)

func (o watchOption) applyWatch(s *watchSettings) { o(s) }

// WithInitial makes a watcher begin with what is there when the loop starts: all of it
// comes as added, and then what changes. So nothing is missed, and nothing comes twice.
func WithInitial() WatchOption { return watchOption(func(s *watchSettings) { s.initial = true }) }

// Watch returns what changes in the map from the version on that is newest when the
// loop starts. Each time the loop comes back for more and there is none, it waits for a
// commit, of whatever process, and compares the newest version with the one that it has
// told of last. So changes are those between two versions and not each operation: of a
// key that was set twice meanwhile, the last value comes; a key that has the same value
// as before does not come. The newest state always comes. The changes of one version
// are in no order, and say by More where they end.
//
// What a comparison costs depends on how much has changed, not on how much there is.
// While it waits, a watcher holds the version that it has told of last, and follows the
// newest one even if the map does not change. As long as the body of the loop runs, it
// cannot: a slow one, like a long View, keeps from reuse what that version sees (see
// everheap ps). Any number of watchers in a process share what they hold, and one
// goroutine that waits for them all.
//
// The body may do anything with the space but close it: that waits for the body.
//
// The loop ends with an error, in its last round: that of the context when it ends,
// ErrClosed when the handle on the space is closed, ErrNotFound when the map does not
// exist (any more), ErrTypeChanged when it has other types than the program's,
// ErrNilHandle, ErrDangling, ErrCorrupt, ErrFault. Leaving it earlier is fine. A space
// opened with WithReadOnly can be watched.
func (m Map[K, V]) Watch(ctx context.Context, s *Space, opts ...WatchOption) iter.Seq2[Change[K, V], error] {
	return watch[K, V](ctx, s, m.of(), opts, copyKey)
}

// Watch returns what changes in the sorted map; see Map.Watch. The changes of one
// version are in the order of the keys.
func (m Sorted[K, V]) Watch(ctx context.Context, s *Space, opts ...WatchOption) iter.Seq2[Change[K, V], error] {
	return watch[K, V](ctx, s, m.of(), opts, copyKey)
}

// Watch returns what changes in the list; see Map.Watch. The keys are indexes, and the
// changes of one version are in their order: elements that were set, then those that
// were appended, which are added, or those that were truncated, which are removed.
// What was truncated and appended again is updated.
func (l List[T]) Watch(ctx context.Context, s *Space, opts ...WatchOption) iter.Seq2[Change[int, T], error] {
	return watch[int, T](ctx, s, l.of(), opts, copyKey)
}

// Watch returns what becomes of the value; see Map.Watch. The key is the reference.
// What the value refers to by handles is not part of it.
func (r Ref[T]) Watch(ctx context.Context, s *Space, opts ...WatchOption) iter.Seq2[Change[Ref[T], T], error] {
	return watch[Ref[T], T](ctx, s, r.of(), opts, func(key *Ref[T], _ *engine.Difference) error {
		*key = r
		return nil
	})
}

// copyKey copies the key of a difference.
func copyKey[K comparable](key *K, d *engine.Difference) error { return d.CopyKey(layout.ArgKey(key)) }

// watch follows an object.
func watch[K comparable, V any](ctx context.Context, s *Space, of engine.Subject, opts []WatchOption, key func(*K, *engine.Difference) error) iter.Seq2[Change[K, V], error] {
	return follow(ctx, s, of, opts, func(d *engine.Difference) (Change[K, V], error) {
		c := Change[K, V]{Version: Version(d.Version), More: d.More}
		if err := key(&c.Key, d); err != nil {
			return c, err
		}
		var err error
		if c.Old, err = copyPart[V](d, d.Was); err == nil {
			c.New, err = copyPart[V](d, d.Now)
		}
		return c, err
	})
}

// copyPart copies one of the values of a difference; nil if it is nil.
func copyPart[V any](d *engine.Difference, p engine.StoredPart) (*V, error) {
	if p.Pointer == nil {
		return nil, nil
	}
	v := new(V)
	return v, d.CopyValue(layout.ArgKey(v), p)
}

// follow yields what convert makes of the differences of an object, and at last an
// error. The body runs outside of everything that the library does: it may panic, or
// leave the loop, and all is let go.
func follow[C any](ctx context.Context, s *Space, of engine.Subject, opts []WatchOption, convert func(d *engine.Difference) (C, error)) iter.Seq2[C, error] {
	var settings watchSettings
	for _, o := range opts {
		o.applyWatch(&settings)
	}
	return func(yield func(C, error) bool) {
		w, err := s.locks.Watch(of, settings.initial)
		if err != nil {
			yield(*new(C), s.wrapWatch("watch", err))
			return
		}
		defer w.Close()
		for {
			var c C
			err := w.Next(ctx, func(d *engine.Difference) (err error) {
				c, err = convert(d)
				return err
			})
			if err != nil {
				yield(*new(C), s.wrapWatch("watch", err))
				return
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// wrapWatch is wrap; the end of the context is not ErrBusy here.
func (s *Space) wrapWatch(op string, err error) error { return s.engine.ExplainEnd(op, err) }
