// Package prefetch lets the processor fetch memory before it is needed. A read
// cannot do that: it holds up what follows it until the memory is there.
package prefetch
