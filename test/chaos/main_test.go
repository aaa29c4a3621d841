// Package chaos is the test that does everything at once to one space. Five processes
// change maps, sorted maps, lists, references and nested maps, make checkpoints, view,
// restore and drop them, compact, collect, evolve types, back up and restore elsewhere,
// close and open; a sixth looks at everything. Meanwhile they are stopped, continued
// and killed at random, one by one or all at once, and power is lost.
//
// What must hold is written in the values themselves (audit_test.go), and in ledgers
// that lie outside of the space (ledger_test.go): each value has a sum, each owner's
// state says what there is of it in every version, accounts have a constant sum; what
// was acknowledged is there, and nothing is there that was not tried. Every version is
// read twice. Nobody who is neither dead nor stopped waits long for a commit.
//
// When something is found everybody is stopped at once, and the directory that the
// failure names keeps the files of the space, the output of all processes, where each
// of their goroutines stood, and, with the tag invariants, the events that they have noted.
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
