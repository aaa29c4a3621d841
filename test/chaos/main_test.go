// Package chaos tests all operations on one space at once. Five processes
// change maps, sorted maps, lists, references and nested maps, make checkpoints, view,
// restore and drop them, compact, collect, evolve types, back up and restore elsewhere,
// close and open; a sixth verifies all contents. Meanwhile they are stopped, continued
// and killed at random, one by one or all at once, and power is lost.
//
// The expected contents are in the values themselves (audit_test.go), and in ledgers outside of the
// space (ledger_test.go). Each value has a sum; each owner's state describes the owner's values in
// every version; the accounts have a constant sum. Every acknowledged transaction is in the space,
// and no transaction that was not attempted. Every version is read twice. No running process waits
// long for a commit.
//
// When a process finds an error, all processes are stopped at once. The directory named in the
// failure keeps the files of the space, the output and the stacks of all processes, and, with the tag
// invariants, their events.
//
// Start reading at TestChaos, and at anOwner.work for what a process does.
package chaos

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"
)

var (
	seedFlag     = flag.Uint64("everheap.seed", 0, "seed of the first round; 0: a fixed one")
	soakFlag     = flag.Duration("everheap.soak", 12*time.Second, "how long to go on")
	roundFlag    = flag.Duration("everheap.round", time.Minute, "how long one space is used, at the most")
	keepFlag     = flag.String("everheap.keep", "", "where the files of a failure are kept; by default where temporary files are")
	fullFlag     = flag.Bool("everheap.full", true, "whether spaces and disks get full in some rounds")
	pointFlag    = flag.String("everheap.point", "", "where processes stop or die, by the beginning of the point's name, such as commit. or commit.swapped:stop; by default anywhere (with the tag invariants)")
	patienceFlag = flag.Duration("everheap.patience", time.Minute, "how long a process that is neither dead nor stopped may be without a commit")
)

// children are the programs that run in processes of their own.
var children = map[string]func() int{"worker": workerChild, "checker": checkerChild}

func TestMain(m *testing.M) {
	if name := os.Getenv("CHAOS_CHILD"); name != "" {
		child, ok := children[name]
		if !ok {
			fmt.Fprintf(os.Stderr, "there is no child named %s\n", name)
			os.Exit(2)
		}
		os.Exit(child())
	}
	flag.Parse()
	os.Exit(m.Run())
}
