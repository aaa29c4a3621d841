package changes

import (
	"context"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/object"
)

// neededPatience bounds the wait for versions to become durable, since no process may be syncing
// them.
const neededPatience = 5 * time.Second

// Needed returns the objects that the frames of the versions from first to last need, and those
// that they make.
func (k *Keeper) Needed(first, last format.Version) (made, needed map[uint64]bool, err error) {
	made, needed = map[uint64]bool{}, map[uint64]bool{}
	ctx, cancel := context.WithTimeout(context.Background(), neededPatience)
	defer cancel()
	for f, err := range k.Since(ctx, first-1) {
		if err == nil {
			err = object.Needed(f.Ops(), func(i uint64) { made[i] = true }, func(i uint64) { needed[i] = true })
		}
		if err != nil {
			return nil, nil, err
		}
		if format.Version(f.Version) >= last {
			break
		}
	}
	return made, needed, nil
}
