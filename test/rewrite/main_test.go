// Package rewrite tests the operations that rewrite a closed space: Rebase, Resize and Compact.
package rewrite

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
