// Package micro measures single operations, against Go's maps or the bare disk in the same
// run.
package micro

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m, benchesEnd)) }
