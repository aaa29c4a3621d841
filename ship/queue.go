package ship

import (
	"context"
	"sync"

	"github.com/everheap/everheap"
)

// queue has the frames that were read and not written yet. While the disk syncs, more come; all that
// have come are written with the next sync.
type queue struct {
	more chan struct{} // has something when there is more, or the end
	room chan struct{} // has something when frames were taken

	mu struct {
		sync.Mutex
		frames []everheap.Frame
		bytes  int
		ended  error // why no more come; nil: some do
	}
}

func newQueue() *queue {
	return &queue{more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put adds a frame, and waits until there is room for more, or ctx ends: then it reports false.
func (q *queue) put(ctx context.Context, f everheap.Frame) bool {
	q.mu.Lock()
	q.mu.frames = append(q.mu.frames, f)
	q.mu.bytes += len(f.Bytes())
	full := q.mu.bytes >= batchBytes
	q.mu.Unlock()
	wake(q.more)
	for full {
		select {
		case <-q.room:
		case <-ctx.Done():
			return false
		}
		q.mu.Lock()
		full = q.mu.bytes >= batchBytes
		q.mu.Unlock()
	}
	return ctx.Err() == nil
}

// end says why no more come.
func (q *queue) end(err error) {
	q.mu.Lock()
	q.mu.ended = err
	q.mu.Unlock()
	wake(q.more)
}

// take returns all frames that have come; or, when there are none, why no more come.
func (q *queue) take() ([]everheap.Frame, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.mu.frames
	q.mu.frames, q.mu.bytes = nil, 0
	wake(q.room)
	if len(list) == 0 {
		return nil, q.mu.ended
	}
	if q.mu.ended != nil {
		wake(q.more) // who comes again learns of it
	}
	return list, nil
}

// wake puts something into a channel, unless it has something.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
