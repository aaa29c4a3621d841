package ship

import (
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/everheap/everheap"
)

// History returns the frames that a directory has after a version, in order, and a FrameReader that
// knows the types of what they change: from the newest snapshot that is not newer, or else from the oldest one. The
// last round has an error if what follows is damaged or missing: *Damage.
//
// Errors: everheap.ErrNotFound if the directory has no snapshot; everheap.ErrCorrupt if that one is damaged.
func History(dir string, since everheap.Version) (*everheap.FrameReader, iter.Seq2[everheap.Frame, error], error) {
	d := &directory{path: dir}
	if err := d.read(); err != nil {
		return nil, nil, err
	}
	starts, _, err := d.starts(At{Version: since})
	if errors.Is(err, everheap.ErrNotFound) && since != 0 { // it begins later
		starts, _, err = d.starts(At{})
		since = 0
	}
	if err != nil {
		return nil, nil, err
	}
	from := starts[0]
	if since == 0 {
		from = starts[len(starts)-1]
	}
	f, err := os.Open(d.join(from.name))
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	r := everheap.NewFrameReader(nil)
	if err := r.LearnBackup(f); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", d.join(from.name), err)
	}
	return r, func(yield func(everheap.Frame, error) bool) {
		w, err := d.each(from, func(f everheap.Frame) error {
			if f.Version() > since && !yield(f, nil) {
				return errEnough
			}
			if f.Version() <= since {
				for _, err := range r.Changes(f) { // it may make what later ones change
					if err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err == nil {
			err = d.broken(w)
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(everheap.Frame{}, err)
		}
	}, nil
}
