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
