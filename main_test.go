package everheap_test

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

// TestMain runs a child, or the tests.
func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
