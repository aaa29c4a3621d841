package replica

import (
	"context"
	"errors"
	"time"

	"github.com/everheap/everheap"
)

// beat publishes the status at intervals, and watches the lease.
func (f *Follower) beat(ctx context.Context) {
	tick := time.NewTicker(min(time.Second, f.o.Lease/4))
	defer tick.Stop()
	said := ""
	for {
		if err := f.once(ctx); err != nil && ctx.Err() == nil && said != err.Error() {
			said = err.Error()
			f.o.Log.Warn("cannot publish the status", "error", err)
		}
		if f.o.OnStatus != nil {
			f.o.OnStatus(f.Status())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// once is one round of beat.
func (f *Follower) once(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, f.o.Lease/2)
	defer cancel()
	l, revision, err := f.store.leased(short)
	if err != nil { // no server can be reached: the leader's silence counts only from a successful read
		f.mu.Lock()
		f.mu.heard = time.Time{}
		f.mu.Unlock()
		return err
	}
	f.mu.Lock()
	if f.mu.led = l; revision != f.mu.revision || f.mu.heard.IsZero() {
		f.mu.revision, f.mu.heard = revision, time.Now()
	}
	f.mu.Time = time.Now()
	durable, space := f.mu.Durable, f.mu.space
	f.mu.Unlock()
	f.hear(word{l.Term, l.Version, l.Time.UnixNano()})
	if f.o.PromoteAfter > 0 && revision > 0 && f.silent() >= f.o.PromoteAfter {
		f.claimAlone(ctx)
	}
	if err := f.store.say(short, copyPrefix+f.o.Copy, f.Status()); err != nil {
		return err
	}
	f.keeping.Lock()
	defer f.keeping.Unlock()
	if space == nil || durable < 2 || f.keeping.sub == nil {
		return nil
	}
	return ignoreClosed(f.keeping.safe(durable, space))
}

// ignoreClosed returns nil for the error of a space that another goroutine has just closed.
func ignoreClosed(err error) error {
	if errors.Is(err, everheap.ErrClosed) {
		return nil
	}
	return err
}
