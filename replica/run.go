package replica

import (
	"context"
	"errors"
	"time"

	"github.com/everheap/everheap"
	"github.com/nats-io/nats.go"
)

// Role is the role with which Run begins.
type Role int

// The roles.
const (
	AsFollower Role = iota
	AsLeader
)

// Run runs a copy until ctx ends: it leads or follows, as the log says. A leader follows after
// another copy has taken over, and a follower leads after its promotion. role only counts for a copy
// that the log does not know. Run waits for unreachable servers.
func Run(ctx context.Context, nc *nats.Conn, name string, role Role, o Options) error {
	dir, err := dirOf(name)
	if err != nil {
		return err
	}
	if o, err = o.complete(dir); err != nil {
		return err
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		began := time.Now()
		if role == AsLeader {
			err = runLeader(ctx, nc, name, o)
		} else {
			err = runFollower(ctx, nc, name, o)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case role == AsLeader && errors.Is(err, ErrFenced):
			role, wait = AsFollower, 50*time.Millisecond
		case role == AsFollower && errors.Is(err, ErrLeads):
			role, wait = AsLeader, 50*time.Millisecond
		case errors.Is(err, ErrUnknown), errors.Is(err, ErrInUse), !passes(err):
			return err
		}
		o.Log.Info("goes on", "because", err)
		if time.Since(began) > time.Minute {
			wait = 100 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// passes reports whether an error may pass by itself, such as unreachable or full servers.
func passes(err error) bool {
	for _, of := range []error{everheap.ErrCorrupt, everheap.ErrUnsupported, everheap.ErrReadOnly, everheap.ErrNotFound, everheap.ErrExists} {
		if errors.Is(err, of) {
			return false
		}
	}
	return true
}

// runLeader leads until the leader ends.
func runLeader(ctx context.Context, nc *nats.Conn, name string, o Options) (err error) {
	space, err := everheap.Open(name, o.Open...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, space.Close()) }()
	l, err := Lead(ctx, nc, space, o)
	if err != nil {
		return err
	}
	<-l.Done()
	return l.Err()
}

// runFollower follows until the follower ends.
func runFollower(ctx context.Context, nc *nats.Conn, name string, o Options) error {
	f, err := Follow(ctx, nc, name, o)
	if err != nil {
		return err
	}
	<-f.Done()
	return f.Err()
}
