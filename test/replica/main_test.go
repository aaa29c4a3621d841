// Package replica tests subscriptions to all changes, and replicas that apply them.
//
// Start reading at TestModel.
package replica

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/proctest"
	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) {
	proctest.Main()
	os.Exit(spacetest.Main(m))
}
