package replica

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everheap/everheap"
)

// relation is the relation of a version in the log to a space.
type relation int

const (
	same    relation = iota // the version is in the space's history
	other                   // the space has another version of that number
	ahead                   // the space has no such version yet
	unknown                 // the space no longer keeps the frames
)

// newestOf returns the newest version of a space.
func newestOf(space *everheap.Space) (v uint64, err error) {
	err = space.View(func(tx *everheap.Tx) error { v = uint64(tx.Version()); return nil })
	return v, err
}

// frameAfter returns the frame of the version after v, which must be durable.
func frameAfter(ctx context.Context, space *everheap.Space, v uint64) (everheap.Frame, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for f, err := range space.ChangesSince(ctx, everheap.Version(v)) {
		return f, err
	}
	return everheap.Frame{}, errors.New("replica: the space has no frame, and does not say why")
}

// relate finds out whether a version with a chain is in the history of a space. It compares the frame
// after the version, or the version's own frame. All versions of the space must be durable.
func relate(ctx context.Context, space *everheap.Space, v, chain uint64) (relation, error) {
	newest, err := newestOf(space)
	if err != nil {
		return unknown, err
	}
	var has uint64
	switch {
	case v > newest:
		return ahead, nil
	case v < newest:
		f, err := frameAfter(ctx, space, v)
		if errors.Is(err, everheap.ErrNotKept) {
			return unknown, nil
		}
		if err != nil {
			return unknown, err
		}
		has = beforeOf(f)
	case v < 2:
		return unknown, nil
	default:
		f, err := frameAfter(ctx, space, v-1)
		if errors.Is(err, everheap.ErrNotKept) {
			return unknown, nil
		}
		if err != nil {
			return unknown, err
		}
		has = chainOf(f)
	}
	if has != chain {
		return other, nil
	}
	return same, nil
}

// subscribe finds or makes the subscription that keeps frames for the log. A subscription that has
// fallen too far behind keeps nothing any more, and only its holder can drop it; so subscribe makes
// another one in its place.
func subscribe(space *everheap.Space, o Options) (sub *everheap.Subscription, err error) {
	name := "replica-" + o.Stream
	for i := 2; i < 10; i++ {
		sub, err = space.Subscribe(name, o.Keep)
		if !errors.Is(err, everheap.ErrNotKept) {
			return sub, err
		}
		if sub != nil {
			if err := sub.Drop(); err != nil {
				return nil, err
			}
			continue
		}
		name = fmt.Sprintf("replica-%s.%d", o.Stream, i)
	}
	return nil, err
}

// keeper confirms the versions that the log has, after a delay (JS3), and in few steps.
type keeper struct {
	sub       *everheap.Subscription
	after     time.Duration
	points    []point // oldest first
	confirmed uint64
}

// point is the version that was safe at a time.
type point struct {
	at      time.Time
	version uint64
}

// safe notes the newest version that is safe elsewhere, and confirms versions that have been safe for
// long enough. If the space keeps too much, it confirms half of the noted versions.
func (k *keeper) safe(version uint64, space *everheap.Space) error {
	now := time.Now()
	if n := len(k.points); n == 0 || k.points[n-1].version < version && now.Sub(k.points[n-1].at) >= k.after/64 {
		k.points = append(k.points, point{now, version})
	}
	n := 0
	for n < len(k.points) && now.Sub(k.points[n].at) >= k.after {
		n++
	}
	if full, err := k.full(space); err != nil {
		return err
	} else if full {
		n = max(n, (len(k.points)+1)/2)
	}
	if n == 0 {
		return nil
	}
	// One less, so that the space keeps the frame of a version that the log can be compared with.
	v := k.points[n-1].version - 1
	k.points = k.points[n:]
	if v <= k.confirmed {
		return nil
	}
	k.confirmed = v
	return k.sub.Confirm(everheap.Version(v))
}

// full reports whether the space keeps at least half of what it may keep.
func (k *keeper) full(space *everheap.Space) (bool, error) {
	list, err := space.Subscriptions()
	if err != nil {
		return false, err
	}
	for _, s := range list {
		if s.Name == k.sub.Name() {
			if s.Lost {
				return false, fmt.Errorf("%w: the subscription %s", everheap.ErrNotKept, s.Name)
			}
			return s.Kept > s.Keep/2, nil
		}
	}
	return false, fmt.Errorf("%w: the subscription %s was dropped", everheap.ErrNotFound, k.sub.Name())
}
