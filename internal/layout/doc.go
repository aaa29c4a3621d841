// Package layout turns Go values into the bytes of blocks and back.
//
// A type is compiled once, by reflection, into a descriptor (Type). Everything
// else works from descriptors alone, so that recovery, the command and programs
// that do not know the Go type can copy, check, walk, compare and print values.
//
// Terms:
//
//   - fixed part: the bytes of the type itself, exactly as Go lays them out.
//   - owned part: what the fixed part refers to: bytes of strings, backing
//     arrays of slices, targets of pointers. It lies in the same block.
//   - program: the list of the places of a fixed part that are more than bytes
//     (headers, pointers, times, padding), with all nesting by value unrolled.
//   - raw: said of a type whose program is empty; one move of bytes copies it.
//   - graph: said of a type that reaches pointers or slices of itself; only its
//     values can be shared or cyclic, and only they pay for an identity table.
//   - detached: the position-independent form; addresses are offset+1, 0 is nil.
//   - conversion: the program that makes values of another type of stored ones; a step
//     of it can be a function of the user's program.
//   - coded: said of a value that is stored as the bytes that it is marshaled to.
//   - handle: 8 bytes that name an object by its ID; never followed here.
//
// Invariants:
//
//	LY1 Every address in a stored value is nil or lies in the value's own block.
//	LY2 Code writes a block as bytes and words through its write view only; no typed
//	    pointer store ever reaches it.
//	LY3 Flatten writes nothing outside the fixed and owned parts that it was given,
//	    whatever happens to the source meanwhile.
//	LY4 Padding, blank fields and alignment gaps are zero; times are UTC without
//	    a monotonic reading; cap equals len. So equal values have equal bytes.
//	LY5 The owned parts of a value do not overlap, except that pointers and
//	    recursive slices may refer to one part more than once. Readers spend a
//	    budget of bytes on that account, so that damage cannot make them run on.
//	LY6 Reading checks each address against the bounds of the block before use.
//	LY7 Addresses of the caller's value are kept outside the stack only if NoEscape
//	    made sure that they belong to the heap.
//
//	LY8 A conversion reads only values that Check has accepted. What it makes may
//	    refer to the block that it was made of, to the converter's memory and to
//	    Go values that steps made; it is flattened before any of these goes.
//
//	LY9 A coded value of the program differs from a stored one. All code here works on the
//	    stored form, but for Stored, which makes it, CopyOut, which makes the program's of
//	    it, and Clone. So a value of the program goes through Stored first, and the program
//	    never gets the stored value itself.
//	LY10 A pointer leads to the beginning of a part, or to that of the fixed part: never
//	     into the middle of another part.
//	LY11 The entries of a Dict have no key twice, none that is NaN, and are in the order of
//	     Compare; the index is the one that follows from them.
//
// Start reading at Type in type.go, then program.go, flatten.go and copyout.go; for
// conversions at matcher.pair in match.go, then convert.go.
package layout
