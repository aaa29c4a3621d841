package ship

import (
	"context"

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

// SnapshotOnly goes on with a directory, and is killed when it has made a snapshot that is due, and
// written no frame.
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
