package upkeep

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/everheap/everheap/internal/checkpoint"
	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/heap"
	"github.com/everheap/everheap/internal/member"
)

const (
	remedyAge      = time.Second // what helps is looked up once in that time,
	remedyVersions = 500         // or in so many versions
	remedyWalk     = 256 << 20   // in a space up to that size it is counted what a version keeps
	remedyMost     = 3           // checkpoints, and readers, that are named
	worthNote      = 1 << 20     // bytes that make a version worth a mention
)

// remedies is what helped last in a space that is full: who programs against the limit
// gets the error very often.
type remedies struct {
	sync.Mutex
	found   time.Time
	version format.Version // the newest then
	text    string         // of checkpoints and readers
}

// FullError adds to an error for want of space what would help.
func (u *Upkeep) FullError(err error) error {
	if u.Heap == nil || u.Enter() != nil { // not open
		return fmt.Errorf("%w: %w", failure.ErrNoSpace, err)
	}
	defer u.Exit()
	helps := "removing something, which works still"
	if errors.Is(err, heap.ErrFull) {
		helps += "; a larger maximum size (Resize, or everheap resize)"
	} else {
		helps += "; freeing some of the disk"
	}
	return fmt.Errorf("%w: %w; what helps: %s%s", failure.ErrNoSpace, err, u.pinning(), helps)
}

// pinning names the checkpoints and the readers that keep what was removed.
func (u *Upkeep) pinning() string {
	r := &u.remedies
	r.Lock()
	defer r.Unlock()
	version, _ := u.NewestVersion()
	if time.Since(r.found) < remedyAge && version < r.version+remedyVersions {
		return r.text
	}
	var parts []string
	if err := u.Guarded(func() error {
		parts = append(u.pinningPins(), u.pinningReaders()...)
		return nil
	}); err != nil {
		return ""
	}
	r.text = ""
	if len(parts) > 0 {
		r.text = strings.Join(parts, "; ") + "; "
	}
	r.found, r.version = time.Now(), version
	return r.text
}

// walks reports whether the space is small enough for a walk of its versions.
func (u *Upkeep) walks() bool { return u.Live.Words().Carved.Load() <= remedyWalk }

// pinningPins names checkpoints.
func (u *Upkeep) pinningPins() (parts []string) {
	var list []checkpoint.Checkpoint
	if u.walks() {
		list, _ = u.checkpoints.List() // as far as it can be read
	} else {
		_ = u.Look(func(state format.Addr) error {
			pins, err := u.checkpoints.Pins(member.StateAt(state))
			for _, p := range pins {
				if s, stateErr := u.checkpoints.State(p); p.Restore == 0 && stateErr == nil {
					list = append(list, checkpoint.Checkpoint{Name: p.NameOf(), Bytes: format.ByteCount(s.BlockBytes)})
				}
			}
			return err
		})
	}
	for _, c := range list {
		switch {
		case len(parts) == remedyMost:
			return append(parts, fmt.Sprintf("dropping others of the %d checkpoints", len(list)))
		case c.Bytes < worthNote:
		case u.walks():
			parts = append(parts, fmt.Sprintf("dropping the checkpoint %q, which alone keeps %d bytes", c.Name, c.Bytes))
		default:
			parts = append(parts, fmt.Sprintf("dropping the checkpoint %q, which keeps up to %d bytes", c.Name, c.Bytes))
		}
	}
	return parts
}

// pinningReaders names those who hold an old version.
func (u *Upkeep) pinningReaders() (parts []string) {
	if !u.walks() {
		return nil
	}
	claims, _ := u.Claims() // as far as they can be read
	for _, c := range claims {
		if c.Pins < worthNote || len(parts) == remedyMost {
			continue
		}
		who := fmt.Sprintf("process %d (%s)", c.PID, c.Command)
		if c.Self {
			who = "this process"
		}
		parts = append(parts, fmt.Sprintf("ending the View of %s, which keeps %d bytes", who, c.Pins))
	}
	return parts
}
