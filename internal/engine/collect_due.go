package engine

import (
	"context"
	"time"
)

const (
	leastActivity  = 1000        // objects made and values with handles replaced, before a collection is worth it
	collectLoad    = 10          // one begins at the earliest after that many times the last one's duration
	collectFailure = time.Minute // and after a failure
	fruitless      = 8           // one that drops less than that part of what it was due for makes the next one come later
	collectLater   = 4           // times
)

// collectDue reports whether so much was made or unlinked that a collection may be worth
// it: the effort of one is in proportion to the objects there are, so the next one is due
// after a quarter as many things that can make garbage. Objects that are made are
// counted, and values with handles that are replaced or removed, whatever becomes of what
// they refer to; so if a collection finds little, the next one is due later. What was
// counted is lost with live; then a collection comes early.
func (sp *Space) collectDue() bool {
	w := sp.Live.Words()
	return w.NextIndex.Load()+w.Unlinked.Load() >= max(w.CollectDue.Load(), leastActivity)
}

// noteCollection sets when the next collection is due, after one that began when so much
// was counted.
func (sp *Space) noteCollection(c *Collection, activity uint64) {
	worth := max(leastActivity, (c.Objects-min(c.Dropped, c.Objects))/4)
	if c.Dropped < worth/fruitless {
		worth *= collectLater
	}
	sp.Live.Words().CollectDue.Store(activity + worth)
	s := &sp.collecting
	s.Lock()
	defer s.Unlock()
	s.last = *c
	s.next = time.Now().Add(collectLoad * c.Duration)
}

// maybeCollect begins a collection in the background if one is due.
func (sp *Space) maybeCollect() {
	if sp.options.NoCollect || !sp.collectDue() || sp.durable.Refused() != nil {
		return
	}
	s := &sp.collecting
	s.Lock()
	defer s.Unlock()
	if s.cancel != nil || time.Now().Before(s.next) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	sp.Done.Add(2)
	go func() { // waiting for the writer lock ends with the space
		defer sp.Done.Done()
		select {
		case <-sp.Quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	go func() {
		defer sp.Done.Done()
		defer cancel()
		_, err := sp.collect(ctx, true)
		s.Lock()
		defer s.Unlock()
		s.cancel = nil
		if err != nil && ctx.Err() == nil {
			s.next = time.Now().Add(collectFailure)
			if !isReplaced(err) {
				sp.Note(err)
			}
		}
	}()
}

// isReplaced reports whether a collection has ended for another one.
func isReplaced(err error) bool { return err == errReplaced }
