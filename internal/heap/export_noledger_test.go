//go:build !invariants || !linux

package heap

// Blind lets this process do with the heap what it must not: nobody sees it in any case.
func (h *Heap) Blind() {}
