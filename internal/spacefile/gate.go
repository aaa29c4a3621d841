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

// How processes come and go. They lock two bytes of the heap file: every process that has the
// space open, a member, shares presence; one process at a time has the gate.
//
//	K4  A process makes or takes away what members rely on only while it holds presence
//	    exclusively: a new live file, its recovery up to where members may join it,
//	    another heap file under the name, a clean anchor. A process that joins takes
//	    presence shared first. It then verifies that the name still leads to this heap
//	    file, and that the live file is whole, of this boot and recovered. So what it
//	    has verified stays true for as long as it is a member, and joining needs no
//	    gate. If the verification fails it releases presence.
//	K5  A process takes the gate before it takes presence exclusively, so no other
//	    process that wants presence exclusively makes it fail: a process that creates
//	    or recovers live, heals, rewrites, or finds out while it closes whether it is
//	    the last one. Because of the last question a process keeps the gate until it
//	    has released presence: else two that close at once would each see the other,
//	    and neither would be the last.
//	K6  So a process that stops while it holds the gate keeps no other from joining a
//	    space that is alive, nor from using it. A process that closes waits for the
//	    gate with bounded patience and then does without: it has already made durable
//	    what was committed and given back what it had reserved. Only the clean anchor
//	    may be missing, as after the death of the last process.
//	K7  The gate is a lock on an open file of its own, which is opened anew from the
//	    descriptor of the heap file and not by its name.

const (
	gatePatience  = 10 * time.Second // for a holder of the gate that is stopped, or cannot be inspected
	closePatience = 2 * time.Second  // to find out whether this process is the last
	probePatience = time.Second      // for others that probe whether they can join
	probePause    = time.Millisecond
)

// TakeGate waits for the gate until the context ends, or its holder is stopped for
// gatePatience. CloseLocks of the file that it returns gives the gate back.
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
		if ctx.Err() == nil && goesOn(holders) {
			continue
		}
		err = ctx.Err()
		if err == nil {
			err = context.DeadlineExceeded
		}
		return nil, fmt.Errorf("%w: %s for %v (%w)", ErrBusy, gateHolders(holders), time.Since(began).Round(time.Millisecond), err)
	}
}

// goesOn reports whether a holder of a lock is seen to be running.
func goesOn(holders []oslock.Holder) bool {
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
			name += ", which is stopped: let it go on or end it,"
		}
		names = append(names, name)
	}
	return strings.Join(names, " and ") + " has been opening, closing or rewriting the space"
}

// GateAtEnd waits for the gate with bounded patience, for a process that closes the space (K6).
func (d *Dir) GateAtEnd() (*os.File, error) {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	open := func() (*os.File, error) { return openAgain(d.Locks) }
	return oslock.Wait(ctx, open, format.LockGate, false)
}
