package watch

import "context"

// Tick bounds a sleep.
var Tick = &tick

// Look compares the newest version with the one that was reported last, without waiting, and
// reports whether there is a difference.
func (w *Watch) Look() (found bool, err error) {
	w.mu.Lock()
	defer w.leave()
	if err := w.holdNext(); err != nil {
		return false, err
	}
	err = w.begin(context.Background())
	return w.primed, err
}

// Holds reports whether watchers share a version that they could hold again.
func (s *Session) Holds() bool {
	s.watchers.mu.Lock()
	defer s.watchers.mu.Unlock()
	return s.watchers.mu.newest != nil
}
