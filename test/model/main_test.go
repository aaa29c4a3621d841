// Package model compares the structures with Go's maps and slices under random operations, and fuzzes
// those operations.
//
// Start reading at machine.
package model

import (
	"os"
	"testing"

	"github.com/everheap/everheap/internal/spacetest"
)

func TestMain(m *testing.M) { os.Exit(spacetest.Main(m)) }
