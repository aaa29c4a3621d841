// Package power cuts the power, fails disks and fills them: when the space is opened again, it has
// every acknowledged commit, and no other commit in part.
//
// Start reading at cutRun, and at the tests whose names begin with TestPowerCut.
package power

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
