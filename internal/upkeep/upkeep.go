// Package upkeep finds free space and gives it back: sweeps, for what no version can reach and
// nobody has in his lists; moving, punching and cutting, for what the heap file takes of the disk;
// and what a transaction can do that finds no space left. Nobody needs it for anything
// to be right; without it a space grows.
//
// The writers go on meanwhile: it takes the turn for moments (package turn), and moves blocks in
// transactions that change nothing. Of objects it knows what can be reached
// (package check) and where addresses are (package relocate). The invariants are I4, I7
// and I8 of the heap, and H1 to H3, P1 to P5, U1 and U2 here.
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

// Upkeep is the part of one process in the upkeep of a space.
type Upkeep struct {
	*turn.Turn
	durable     *durable.Writer
	checkpoints *checkpoint.Keeper

	sweeping sync.Mutex // by one goroutine at a time
	remedies remedies
	relieved time.Time // when a full transaction swept last; of whoever has the queue
}

// Init sets it up for a member that is about to open the space.
func (u *Upkeep) Init(t *turn.Turn, d *durable.Writer, c *checkpoint.Keeper) {
	u.Turn, u.durable, u.checkpoints = t, d, c
}
