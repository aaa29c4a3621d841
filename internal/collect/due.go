package collect

import (
	"context"
	"time"
)

const (
	LeastActivity  = 1000        // so many objects made and values with handles replaced make a collection worth it
	collectLoad    = 10          // a collection waits that many times as long as the last one took
	collectFailure = time.Minute // pause after a failure
	fruitless      = 8           // if a collection drops less than this part of what made it due, the next one comes later:
	Later          = 4           // after so many times as much activity
)

// Due reports whether enough was made or unlinked for a collection to be worth it. A collection
// costs as much as there are objects, so the next one is due after a quarter as many events that
// can make garbage: objects made, and values with handles replaced or removed, whatever becomes of
// the objects that they refer to. If a collection finds little, the next one is due later. The
// counts are lost with live; then a collection comes early.
func (s *Collections) Due() bool {
	w := s.Live.Words()
	return w.NextIndex.Load()+w.Unlinked.Load() >= max(w.CollectDue.Load(), LeastActivity)
}

// noteCollection sets when the next collection is due. activity is the count when this one began.
func (s *Collections) noteCollection(c *Collection, activity uint64) {
	worth := max(LeastActivity, (c.Objects-min(c.Dropped, c.Objects))/4)
	if c.Dropped < worth/fruitless {
		worth *= Later
	}
	s.Live.Words().CollectDue.Store(activity + worth)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = *c
	s.next = time.Now().Add(collectLoad * c.Duration)
}

// Maybe begins a collection in the background if one is due.
func (s *Collections) Maybe() {
	if s.Options.None || !s.Due() || s.durable.Refused() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil || time.Now().Before(s.next) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.Done.Add(2)
	go func() { // ends a wait for the writer lock when the space is closed
		defer s.Done.Done()
		select {
		case <-s.Quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	go func() {
		defer s.Done.Done()
		defer cancel()
		_, _, err := s.collect(ctx, true)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cancel = nil
		if err != nil && ctx.Err() == nil {
			s.next = time.Now().Add(collectFailure)
			if !isReplaced(err) {
				s.Note(err)
			}
		}
	}()
}

// isReplaced reports whether a collection has given way to another one.
func isReplaced(err error) bool { return err == errReplaced }
