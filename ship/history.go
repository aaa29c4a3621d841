package ship

import (
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/everheap/everheap"
)

// History returns the frames in a directory after a version, in order, and a FrameReader that knows
// the types of the objects that they change. It begins at the newest snapshot that is not newer than
// the version, or if there is none at the oldest snapshot. The last round has the error *Damage if
// the frames after it are damaged or missing.
//
// Errors: everheap.ErrNotFound if the directory has no snapshot; everheap.ErrCorrupt if that snapshot
// is damaged.
func History(dir string, since everheap.Version) (*everheap.FrameReader, iter.Seq2[everheap.Frame, error], error) {
	d := &directory{path: dir}
	if err := d.read(); err != nil {
		return nil, nil, err
	}
	starts, _, err := d.starts(At{Version: since})
	if errors.Is(err, everheap.ErrNotFound) && since != 0 { // the directory begins later
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
				for _, err := range r.Changes(f) { // the frame may create objects that later frames change
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
