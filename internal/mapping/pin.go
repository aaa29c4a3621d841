package mapping

import (
	"errors"
	"fmt"
	"os"
)

// Pin keeps the open description of a file by a mapping, which a fork does not get, after
// the descriptor is closed: so locks of the description belong to this process alone, and
// end with it.
type Pin struct{ addr uint64 }

// PinFile returns a pin of the description of f. The caller closes f.
func PinFile(f *os.File) (*Pin, error) {
	addr, err := mapNothing(pageSize, f.Fd())
	if err != nil {
		return nil, limitOr(fmt.Errorf("mapping a page of %s: %w", f.Name(), err), pageSize)
	}
	if err := keepFromForks(addr, pageSize); err != nil {
		return nil, errors.Join(fmt.Errorf("keeping a page of %s from forks: %w", f.Name(), err), unmap(addr, pageSize))
	}
	return &Pin{addr}, nil
}

// Close ends the pin. If it was the last that kept the description, its locks end.
func (p *Pin) Close() error {
	if p.addr == 0 {
		return nil
	}
	addr := p.addr
	p.addr = 0
	return unmap(addr, pageSize)
}
