package model

import "time"

// Sent is what became of a form that was sent, by the key that the form carries. It is
// stored in the transaction that the form caused: both are there, or neither. So a browser
// that got no answer, since the server was killed, sends the form again, and nothing is
// written twice.
type Sent struct {
	Post  Post
	Until time.Time `everheap:"expires"`
}

// newSent returns what is to be remembered of a form, for as long as a browser could try.
func newSent(p Post) Sent { return Sent{p, time.Now().Add(24 * time.Hour)} }
