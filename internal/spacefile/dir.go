// Package spacefile has the directory of a space: its files, who may use them, and
// what they say before the space is open.
package spacefile

// HeapName is the name of the heap file in the directory of a space.
const HeapName = "heap"
