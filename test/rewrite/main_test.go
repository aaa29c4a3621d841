// Package rewrite tests what writes a closed space anew: Rebase, Resize and Compact.
package rewrite

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
