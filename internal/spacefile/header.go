package spacefile

import (
	"errors"
	"fmt"
	"io"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// ReadHeader reads and verifies the header page of a heap file.
func ReadHeader(f mapping.File) (*format.Header, error) {
	page := make([]byte, format.PageSize)
	n, err := f.ReadAt(page, format.HeaderOffset)
	if n < len(page) && err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	return format.DecodeHeader(page[:n])
}
