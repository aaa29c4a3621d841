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
	remedyAge      = time.Second // the remedies are looked up once in this time,
	remedyVersions = 500         // or once in so many versions
	remedyWalk     = 256 << 20   // up to this size, what a version keeps is counted
	remedyMost     = 3           // how many checkpoints, and how many readers, are named
	worthNote      = 1 << 20     // a version that keeps less is not named
)

// remedies remembers the last remedies for a full space: a program that writes against the limit
// gets the error very often.
type remedies struct {
	sync.Mutex
	found   time.Time
	version format.Version // the newest version at that time
	text    string         // what to drop or end
}

// FullError adds the remedies to an error for want of space.
func (u *Upkeep) FullError(err error) error {
	if u.Heap == nil || u.Enter() != nil { // not open
		return fmt.Errorf("%w: %w", failure.ErrNoSpace, err)
	}
	defer u.Exit()
	helps := "removing something, which still works"
	if errors.Is(err, heap.ErrFull) {
		helps += "; a larger maximum size (Resize, or everheap resize)"
	} else {
		helps += "; freeing some of the disk"
	}
	return fmt.Errorf("%w: %w; what helps: %s%s", failure.ErrNoSpace, err, u.pinning(), helps)
}

// pinning names the checkpoints and the readers that keep removed data.
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

// pinningPins names the checkpoints.
func (u *Upkeep) pinningPins() (parts []string) {
	var list []checkpoint.Checkpoint
	if u.walks() {
		list, _ = u.checkpoints.List() // those that can be read
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

// pinningReaders names the readers of old versions.
func (u *Upkeep) pinningReaders() (parts []string) {
	if !u.walks() {
		return nil
	}
	claims, _ := u.Claims() // those that can be read
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
