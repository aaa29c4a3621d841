// Package power cuts the power, fails disks and fills them: whatever was acknowledged is
// there when the space is opened again, and nothing else by half.
//
// Start reading at cutRun, and at the tests whose names begin with TestPowerCut.
package power

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
