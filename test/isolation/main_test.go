// Package isolation tests the anomalies that transactions keep from each other, by name.
package isolation

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
