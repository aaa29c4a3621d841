// Package isolation tests that transactions prevent the anomalies of the literature, by name.
package isolation

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
