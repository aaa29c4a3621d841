// Package invariant has the checks and hooks of test builds. With the build tag invariants
// it asserts, poisons reclaimed memory, can kill or stop the process at named points of the
// protocols, and records events. Without the tag all of it compiles to nothing.
//
// The Record of a space (D1 to D7) has a ring of events for each process, and a ledger of
// the owner of each piece of the heap. It lies in shared memory, so it outlives a process
// that is killed. A failed assertion prints the last events (Assert, AssertAt); DumpEvents
// writes all events.
//
// The name of a point is the protocol and the step: "commit.swap". Points lists all names,
// for the kill and suspend loops.
package invariant

// Points lists the names of the points at which a process can be killed or stopped, in the
// order of the protocols.
var Points = []string{
	"lock.taken", "lock.takeover", "lock.release",
	"begin.active", "begin.slot", "begin.ready",
	"commit.sealed", "commit.swap", "commit.swapped", "commit.freed", "commit.given", "commit.end",
	"watch.armed", "watch.disarmed", "watch.held", "watch.told",
	"grow.carved", "grow.allocated", "hole.allocated", "punch.marked", "punch.punched", "reclaim.scanned",
	"batch.built", "batch.pushed", "batch.taken",
	"anchor.claimed", "anchor.synced", "anchor.written", "anchor.confirmed",
	"journal.leading", "segment.chosen", "segment.claimed", "segment.made", "journal.write", "journal.written", "journal.synced", "journal.takeover",
	"journal.tail", "journal.shorter", "journal.cut",
	"sync.begun", "sync.done",
	"recover.replayed",
	"sweep.epoch", "sweep.emptied", "sweep.held", "sweep.marked", "sweep.pushed",
	"reserve.taken", "reserve.cut", "lowspace.sweeper",
	"punch.synced", "move.found", "move.moved", "move.committed",
	"rewrite.written", "rewrite.synced", "rewrite.renamed", "rewrite.settled",
	"resize.told",
	"aside.listed", "aside.written", "aside.named", "subscribe.written", "subscribe.made", "confirm.written",
	"replica.written", "replica.removed", "replica.ended",
	"expire.claimed", "expire.removed", "expire.marked", "expire.settling",
	"collect.claimed", "collect.marked", "collect.compared", "collect.dropped", "collect.committed",
	"create.built", "create.journal", "create.heap",
	"entry.claimed", "entry.dead", "entry.retired", "entry.reaped", "close.waits", "close.handed", "close.last", "shorten.told", "shorten.synced", "shorten.cut",
	"name.claimed", "name.leaving", "name.filled", "name.given",
	"mutex.taken", "mutex.held", "mutex.wait", "mutex.release", "mutex.offered", "mutex.released", "mutex.takeover",
}
