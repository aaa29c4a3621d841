//go:build explore

package durable

import "time"

// OnTick is what the background does with the journal; it reports whether it goes on.
func (d *Writer) OnTick() bool { return d.inBackground(d.flushSoon, new(time.Time)) }
