package spacefile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/oslock"
)

// How processes open and close a space. They lock two bytes of the heap file. A process that
// has the space open is a member, and holds presence shared. One process at a time holds the
// gate.
//
//	K4  A process changes what members rely on only while it holds presence exclusively: it
//	    creates a live file and recovers it up to where members may join, it replaces the
//	    heap file, or it writes a clean anchor. A joining process first takes presence
//	    shared. It then verifies that the name still names this heap file, and that the live
//	    file is whole, recovered and of this boot. These facts stay true for as long as it is
//	    a member, and so joining needs no gate. If the verification fails it releases
//	    presence.
//	K5  A process takes the gate before it takes presence exclusively. Such a process creates
//	    or recovers live, heals, rewrites, or asks while it closes whether it is the last
//	    member. Because of the gate, none of these makes another fail. A closing process
//	    keeps the gate until it has released presence: otherwise two processes that close at
//	    once would each see the other's presence, and neither would find that it is the last.
//	K6  A process that is stopped while it holds the gate does not keep other processes from
//	    joining or using a space that is alive. A closing process waits for the gate for a
//	    limited time and then closes without it: it has already made the commits durable and
//	    given back its reservations. Only the clean anchor may then be missing, as after the
//	    death of the last process.
//	K7  A process takes the gate on a separate open file description. It opens that one from
//	    the descriptor of the heap file and not by name, so both are of the same file.

const (
	gatePatience  = 10 * time.Second // how long to wait for a holder of the gate that is stopped or cannot be inspected
	closePatience = 2 * time.Second  // how long a closing process waits for the gate
	probePatience = time.Second      // how long to wait for processes that hold presence for a moment
	probePause    = time.Millisecond
)

// TakeGate waits for the gate until it gets it, until the context ends, or until for
// gatePatience no holder of it was seen to run. CloseLocks releases the gate of the file
// that TakeGate returns.
func (d *Dir) TakeGate(ctx context.Context, shared bool) (*os.File, error) {
	open := func() (*os.File, error) { return openAgain(d.Locks) }
	for began := time.Now(); ; {
		bounded, cancel := context.WithTimeout(ctx, gatePatience)
		f, err := oslock.Wait(bounded, open, format.LockGate, shared)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			return f, err
		}
		holders := oslock.Holders(d.Locks, format.LockGate)
		if ctx.Err() == nil && anyRuns(holders) {
			continue
		}
		err = ctx.Err()
		if err == nil {
			err = context.DeadlineExceeded
		}
		return nil, fmt.Errorf("%w: %s for %v (%w)", ErrBusy, gateHolders(holders), time.Since(began).Round(time.Millisecond), err)
	}
}

// anyRuns reports whether one of the holders of a lock is known to run.
func anyRuns(holders []oslock.Holder) bool {
	for _, h := range holders {
		if !h.Stopped {
			return true
		}
	}
	return false
}

func gateHolders(holders []oslock.Holder) string {
	if len(holders) == 0 {
		return "another process has been opening, closing or rewriting the space"
	}
	var names []string
	for _, h := range holders {
		name := fmt.Sprintf("process %d (%s)", h.PID, h.Command)
		if h.Stopped {
			name += ", which is stopped (continue or end it),"
		}
		names = append(names, name)
	}
	return strings.Join(names, " and ") + " has been opening, closing or rewriting the space"
}

// GateAtEnd waits for the gate for at most closePatience, for a process that closes the
// space (K6).
func (d *Dir) GateAtEnd() (*os.File, error) {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	open := func() (*os.File, error) { return openAgain(d.Locks) }
	return oslock.Wait(ctx, open, format.LockGate, false)
}
