// Package upkeep finds free space and gives it back. Sweeps find blocks that no version can reach
// and that are in no list; moving, punching and cutting make the heap file take less of the disk.
// The package also finds space for a transaction that has none left. No other package needs it to
// be correct; without it a space only grows.
//
// Writers continue meanwhile: the package takes the turn only for moments (package turn), and moves
// blocks in transactions that change nothing. About objects it only knows what can be reached
// (package check) and where addresses stand (package relocate). The invariants are I4, I7 and I8 of
// the heap, and H1 to H3, P1 to P5, U1 and U2 here.
//
// Start reading at Upkeep.Sweep, then Upkeep.shrink.
package upkeep

import (
	"sync"
	"time"

	"github.com/everheap/everheap/internal/checkpoint"
	"github.com/everheap/everheap/internal/durable"
	"github.com/everheap/everheap/internal/turn"
)

// Upkeep is one process's part in the upkeep of a space.
type Upkeep struct {
	*turn.Turn
	durable     *durable.Writer
	checkpoints *checkpoint.Keeper

	sweeping sync.Mutex // held by the one goroutine that sweeps
	remedies remedies
	relieved time.Time // when a transaction without space last swept; used under the queue
}

// Init prepares u for a member that is about to open the space.
func (u *Upkeep) Init(t *turn.Turn, d *durable.Writer, c *checkpoint.Keeper) {
	u.Turn, u.durable, u.checkpoints = t, d, c
}
