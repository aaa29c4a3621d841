package spacefile

import (
	"errors"
	"fmt"
	"io"

	"github.com/everheap/everheap/internal/format"
	"github.com/everheap/everheap/internal/mapping"
)

// OpenHeap opens the heap file that is open for its locks, and reads its header.
func (d *Dir) OpenHeap(flag int) error {
	file, err := d.OpenFile(HeapName, flag, 0)
	if err != nil {
		return err
	}
	var header *format.Header
	if err = d.sameAsLocks(file); err == nil {
		header, err = ReadHeader(file)
	}
	if err != nil {
		file.Close()
		return err
	}
	d.Heap, d.Header = file, header
	return nil
}

// sameAsLocks refuses a heap file other than the one that is open for its locks: another
// process has replaced it since.
func (d *Dir) sameAsLocks(file mapping.File) error {
	gate, err := mapping.StatusOf(d.Locks)
	if err != nil {
		return err
	}
	d.HeapID = gate.FileID
	s, err := mapping.StatusOfFile(file)
	if err == nil && s.FileID != gate.FileID {
		err = fmt.Errorf("%w: %s was replaced while it was opened; open the space again", ErrIO, d.Join(HeapName))
	}
	return err
}

// CheckSize refuses a heap file that ends before its first extent.
func (d *Dir) CheckSize() error {
	size, err := d.Heap.Size()
	if err != nil {
		return err
	}
	if uint64(size) < format.FirstExtent(d.Header.Window) {
		return &format.DamageError{File: HeapName, Offset: size, What: "the file was truncated"}
	}
	return nil
}

// ReadHeader reads and verifies the header page of a heap file.
func ReadHeader(f mapping.File) (*format.Header, error) {
	page := make([]byte, format.PageSize)
	n, err := f.ReadAt(page, format.HeaderOffset)
	if n < len(page) && err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	return format.DecodeHeader(page[:n])
}
