package collect

import (
	"context"
	"time"
)

const (
	LeastActivity  = 1000        // objects made and values with handles replaced, before a collection is worth it
	collectLoad    = 10          // one begins at the earliest after that many times the last one's duration
	collectFailure = time.Minute // and after a failure
	fruitless      = 8           // one that drops less than that part of what it was due for makes the next one come later
	Later          = 4           // times
)

// Due reports whether so much was made or unlinked that a collection may be worth
// it: the effort of one is in proportion to the objects there are, so the next one is due
// after a quarter as many things that can make garbage. Objects that are made are
// counted, and values with handles that are replaced or removed, whatever becomes of what
// they refer to; so if a collection finds little, the next one is due later. What was
// counted is lost with live; then a collection comes early.
func (s *Collections) Due() bool {
	w := s.Live.Words()
	return w.NextIndex.Load()+w.Unlinked.Load() >= max(w.CollectDue.Load(), LeastActivity)
}

// noteCollection sets when the next collection is due, after one that began when so much
// was counted.
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
	go func() { // waiting for the writer lock ends with the space
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

// isReplaced reports whether a collection has ended for another one.
func isReplaced(err error) bool { return err == errReplaced }
