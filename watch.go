package everheap

import (
	"context"
	"iter"

	"github.com/everheap/everheap/internal/edit"
	"github.com/everheap/everheap/internal/layout"
	"github.com/everheap/everheap/internal/watch"
)

// Changes returns the numbers of versions newer than the newest one when the loop starts.
// Each round yields the newest version at that moment: it skips versions committed while the
// body ran, but never the last one. Commits of all processes count, including those that
// change nothing the program sees, such as a checkpoint. The loop holds no version between
// two rounds.
//
// The loop ends with an error in its last round: that of the context, or ErrClosed when this
// handle is closed. The body may leave it earlier. Waiting costs no processor time, and no
// thread for each loop.
func (s *Space) Changes(ctx context.Context) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		version, err := s.session.NewestVersion()
		for err == nil {
			if version, err = s.session.AwaitVersion(ctx, version); err == nil && !yield(Version(version), nil) {
				return
			}
		}
		yield(0, s.wrapWatch("changes", err))
	}
}

// Change is one key whose value differs between two versions. The values are copies and
// belong to the caller.
type Change[K comparable, V any] struct {
	// Version is the newer of the two, and was the newest when the watcher looked.
	Version Version
	// Key is the key of an entry, the index of a list's element, or the reference to a
	// single value.
	Key K
	// Old is the value in the older version, nil if the key was missing.
	Old *V
	// New is the value in the newer version, nil if the key is gone.
	New *V
	// More says that further changes of the same version follow. Applying all changes
	// up to one without More yields a whole version.
	More bool
}

// Kind returns what happened to the key.
func (c Change[K, V]) Kind() ChangeKind { return kindOf(c.Old != nil, c.New != nil) }

// ChangeKind is what happened to a key.
type ChangeKind int

// The kinds of changes.
const (
	Added   ChangeKind = iota + 1 // the key is new
	Updated                       // the key has another value
	Removed                       // the key is gone
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

// watchSettings has the combined options.
type watchSettings struct{ initial bool }

// watchOption is a WatchOption made of a function.
type watchOption func(*watchSettings)

func (o watchOption) applyWatch(s *watchSettings) { o(s) }

// WithInitial makes a watcher begin with the present entries, as added, and continue with
// what changes. So it misses nothing, and repeats nothing.
func WithInitial() WatchOption { return watchOption(func(s *watchSettings) { s.initial = true }) }

// Watch returns the changes of the map, from the newest version when the loop starts. When
// the loop asks for more and there is none, Watch waits for a commit of any process and
// compares the newest version with the one it reported last. So it reports differences
// between two versions, not operations: of a key that was set twice meanwhile it reports the
// last value, and it omits a key whose value is the same as before. It always reports the
// newest state. The changes of one version are in no order, and More says where they end.
//
// A comparison costs as much as has changed, not as much as there is. While it waits, a
// watcher holds the version it reported last, and follows the newest one even if the map
// does not change. While the body of the loop runs, it cannot follow: a slow body, like a
// long View, keeps the space from reusing what that version sees (see everheap ps). All
// watchers of a process share the versions they hold, and one goroutine that waits.
//
// The body may do anything with the space but close it, because closing waits for the body.
//
// The loop ends with an error in its last round: that of the context, ErrClosed when the
// handle on the space is closed, ErrNotFound when the map does not exist (any more),
// ErrTypeChanged when its types are not the program's, ErrNilHandle, ErrDangling,
// ErrCorrupt, ErrFault. The body may leave the loop earlier. A space opened with
// WithReadOnly can be watched.
func (m Map[K, V]) Watch(ctx context.Context, s *Space, opts ...WatchOption) iter.Seq2[Change[K, V], error] {
	return watchObject[K, V](ctx, s, m.of(), opts, copyKey)
}

// Watch returns the changes of the sorted map; see Map.Watch. The changes of one version are
// in the order of the keys.
func (m Sorted[K, V]) Watch(ctx context.Context, s *Space, opts ...WatchOption) iter.Seq2[Change[K, V], error] {
	return watchObject[K, V](ctx, s, m.of(), opts, copyKey)
}

// Watch returns the changes of the list; see Map.Watch. The keys are indexes, and the
// changes of one version are in their order: first elements that were set, then appended
// ones, which are added, or truncated ones, which are removed. An element that was truncated
// and appended again is updated.
func (l List[T]) Watch(ctx context.Context, s *Space, opts ...WatchOption) iter.Seq2[Change[int, T], error] {
	return watchObject[int, T](ctx, s, l.of(), opts, copyKey)
}

// Watch returns the changes of the value; see Map.Watch. The key is the reference. Objects
// that the value refers to by handles are not part of it.
func (r Ref[T]) Watch(ctx context.Context, s *Space, opts ...WatchOption) iter.Seq2[Change[Ref[T], T], error] {
	return watchObject[Ref[T], T](ctx, s, r.of(), opts, func(key *Ref[T], _ *watch.Difference) error {
		*key = r
		return nil
	})
}

// copyKey copies the key of a difference.
func copyKey[K comparable](key *K, d *watch.Difference) error {
	return d.CopyKey(layout.NoEscapeKey(key))
}

// watchObject follows an object.
func watchObject[K comparable, V any](ctx context.Context, s *Space, of edit.Subject, opts []WatchOption, key func(*K, *watch.Difference) error) iter.Seq2[Change[K, V], error] {
	return follow(ctx, s, of, opts, func(d *watch.Difference) (Change[K, V], error) {
		c := Change[K, V]{Version: Version(d.Version), More: d.More}
		if err := key(&c.Key, d); err != nil {
			return c, err
		}
		var err error
		c.Old, c.New, err = watch.Values[V](d)
		return c, err
	})
}

// follow yields the converted differences of an object, and at last an error. The loop's body runs while the
// library holds nothing: it may panic, or leave the loop, and everything is released.
func follow[C any](ctx context.Context, s *Space, of edit.Subject, opts []WatchOption, convert func(d *watch.Difference) (C, error)) iter.Seq2[C, error] {
	var settings watchSettings
	for _, o := range opts {
		o.applyWatch(&settings)
	}
	return func(yield func(C, error) bool) {
		if err := watch.Each(ctx, s.session, of, settings.initial, convert, yield); err != nil {
			yield(*new(C), s.wrapWatch("watch", err))
		}
	}
}

// wrapWatch is wrap; the end of the context is not ErrBusy here.
func (s *Space) wrapWatch(op string, err error) error { return s.engine.ExplainEnd(op, err) }
