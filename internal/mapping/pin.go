package mapping

import (
	"errors"
	"fmt"
	"os"
)

// Pin keeps an open file description alive by a mapping after its descriptor is closed. A
// fork does not inherit the mapping. So locks of the description belong to this process
// alone, and end with it.
type Pin struct{ addr uint64 }

// PinFile returns a pin of the description of f. The caller closes f.
func PinFile(f *os.File) (*Pin, error) {
	addr, err := mapNothing(pageSize, f.Fd())
	if err != nil {
		return nil, limitOr(fmt.Errorf("mapping a page of %s: %w", f.Name(), err), pageSize)
	}
	if err := keepFromForks(addr, pageSize); err != nil {
		return nil, errors.Join(fmt.Errorf("excluding a page of %s from forks: %w", f.Name(), err), unmap(addr, pageSize))
	}
	return &Pin{addr}, nil
}

// Close ends the pin. If nothing else keeps the description alive, the kernel releases its locks.
func (p *Pin) Close() error {
	if p.addr == 0 {
		return nil
	}
	addr := p.addr
	p.addr = 0
	return unmap(addr, pageSize)
}
