// Package crash kills processes and makes them stand still, at random moments and at the
// named points, and close or write while others do: what was acknowledged is there, nothing
// else by half, and the others go on.
//
// Start reading at TestKill_AtRandomMoments and TestKill_AtPoints.
package crash

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
