// Package crash kills and suspends processes, at random moments and at the named points, and lets
// them close or write while others do. Acknowledged transactions must be there, no other transaction
// in part, and the other processes must continue.
//
// Start reading at TestKill_AtRandomMoments and TestKill_AtPoints.
package crash

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
