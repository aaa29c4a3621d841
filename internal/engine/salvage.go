package engine

import (
	"io"
	"path/filepath"

	"github.com/everheap/everheap/internal/failure"
	"github.com/everheap/everheap/internal/salvage"
)

// Salvage writes everything readable of the space in dir as a backup, for RestoreBackup. No process
// may have the space open.
func Salvage(dir string, w io.Writer) (*salvage.Report, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	report, err := salvage.Run(dir, w)
	if err != nil {
		return nil, &failure.OpError{Op: "salvage", Space: filepath.Base(dir), Err: failure.Kind(dir, err)}
	}
	return report, nil
}
