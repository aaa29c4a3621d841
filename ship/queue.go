package ship

import (
	"context"
	"sync"

	"github.com/everheap/everheap"
)

// queue has the frames that were read and not written yet. More frames arrive during a sync of the
// disk; the next sync writes all of them.
type queue struct {
	more chan struct{} // has a token when a frame or the end has arrived
	room chan struct{} // has a token when frames were taken

	mu struct {
		sync.Mutex
		frames []everheap.Frame
		bytes  int
		ended  error // the reason why no more frames come; nil: more may come
	}
}

func newQueue() *queue {
	return &queue{more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put adds a frame, and waits until there is room for more. If ctx ends first, it returns false.
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

// end says that no more frames come, and why.
func (q *queue) end(err error) {
	q.mu.Lock()
	q.mu.ended = err
	q.mu.Unlock()
	wake(q.more)
}

// take returns all frames in the queue, without waiting. If it is empty, take returns the error of
// end, or nil.
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
		wake(q.more) // so that the next call of take returns the error, too
	}
	return list, nil
}

// wake puts a token into a channel, unless it has one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
