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

// How processes come and go. Two bytes of the heap file are locked: presence, shared by
// every process that has the space open, and the gate, which one process at a time has.
//
//	K4  What members rely on is made, or taken away, only by one who has the presence
//	    byte exclusively meanwhile: a new live file, its recovery up to where members
//	    may join it, another heap file under the name, a clean anchor. Who joins takes
//	    presence shared first, and then looks whether the name still leads to this
//	    heap file and whether the live file is whole, of this boot and recovered. So
//	    what he has seen stays true for as long as he is a member, and joining needs
//	    no gate. If the look fails he lets go of presence.
//	K5  Who wants presence exclusively, without being refused by one of his kind who
//	    wants it too, has the gate: who creates or recovers live, heals, rewrites, or
//	    finds out at the end whether he is the last one. That last question is why the
//	    gate is kept until presence has been let go of: else two that close at once
//	    would each see the other, and neither would be the last.
//	K6  So one who stands still with the gate keeps nobody from joining a space that is
//	    alive, nor from using it. Who closes waits for the gate with bounded patience
//	    and then does without: he has made durable what was committed and given back
//	    what he had reserved before; only the clean anchor may be missing, as after
//	    the death of the last process.
//	K7  The gate is a lock on an open file of its own, which is opened anew from the
//	    descriptor of the heap file and not by its name.

const (
	gatePatience  = 10 * time.Second // for one who holds the gate and does not move, or cannot be seen
	closePatience = 2 * time.Second  // to find out whether this process is the last
	probePatience = time.Second      // for others who look whether they can join
	probePause    = time.Millisecond
)

// TakeGate waits for the gate: as long as its holder goes on, as far as the system says,
// and the context does. CloseLocks of the file that it returns gives the gate back.
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

// goesOn reports whether one of those who hold a lock is seen to be running.
func goesOn(holders []oslock.Holder) bool {
	for _, h := range holders {
		if !h.Stopped {
			return true
		}
	}
	return false
}

// gateHolders says who has the gate.
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

// GateAtEnd waits for the gate with bounded patience, for one who closes the space (K6).
func (d *Dir) GateAtEnd() (*os.File, error) {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	open := func() (*os.File, error) { return openAgain(d.Locks) }
	return oslock.Wait(ctx, open, format.LockGate, false)
}
