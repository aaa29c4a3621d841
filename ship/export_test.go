package ship

import (
	"context"
	"time"

	"github.com/everheap/everheap"
)

// Plan returns which version Restore would restore, and from which snapshot.
func Plan(dir string, at At) (v everheap.Version, from everheap.Version, err error) {
	d := &directory{path: dir}
	if err := d.read(); err != nil {
		return 0, 0, err
	}
	starts, _, err := d.starts(at)
	if err != nil {
		return 0, 0, err
	}
	tried := map[everheap.Position]bool{}
	p, err := d.plan(context.Background(), starts[0], at, tried)
	return p.Version, starts[0].position.Version, err
}

// SnapshotOnly acts like a Run that makes a periodic snapshot, and is killed before it writes a
// frame.
func SnapshotOnly(ctx context.Context, space *everheap.Space, dir string) error {
	d, err := openDir(dir)
	if err != nil {
		return err
	}
	s := &shipper{space: space, dir: d}
	s.o.setDefaults()
	if s.subscription, err = space.Subscribe(SubscriptionName(dir), 0); err != nil {
		return err
	}
	if _, err := s.resume(ctx); err != nil {
		return err
	}
	defer s.close()
	return s.place(s.make(ctx))
}

// Prune removes the files that versions within an age do not need.
func Prune(dir string, keep time.Duration) error {
	d := &directory{path: dir}
	return d.prune(keep, "")
}

// Take gives a frame to a shipper whose last version is at.
func Take(dir string, at everheap.Position, f everheap.Frame) error {
	d, err := openDir(dir)
	if err != nil {
		return err
	}
	s := &shipper{dir: d, at: at}
	s.o.setDefaults()
	defer s.closeSegment()
	return s.appendFrames([]everheap.Frame{f})
}
