// Package damage damages the files of spaces and backups: an error or an answer comes of
// it, never a panic or a hang, and what is left can be salvaged.
package damage

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
