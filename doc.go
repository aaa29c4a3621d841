// Package everheap keeps ordinary Go objects in memory that is mapped to a file
// and shared by every process that opens it. Exit, crash or restart, and the
// objects are still there. Reading one is following a pointer: no decoding, no
// copying, no server.
//
// The rules of the model:
//
//  1. Stored values are frozen. Set copies the value, with everything it owns,
//     into the space. Changing a stored value is Set, Modify or Upsert: never a
//     write through a pointer. Such a write is an error, ErrFault.
//  2. Identity is explicit. Fields of ordinary types are owned by the value. A
//     Ref, Map, Sorted or List field refers to an object that others can refer to as well;
//     cycles and sharing are fine. Such a handle is stored only if its object is
//     there: else that is ErrDangling.
//  3. A transaction sees one version and publishes one version; readers never
//     wait for writers, nor writers for readers.
//  4. Objects are found by name, from the catalog of their space, or by what refers
//     to them. What no name reaches is reclaimed, now and then in the background, or
//     by Collect: an object that nothing refers to when its transaction ends may
//     vanish.
//  5. What cannot be stored is refused when the type is first used, with the path
//     of the field: channels, functions, interfaces, built-in maps, uintptr,
//     unsafe.Pointer, anything that holds a lock. time.Time is stored (as UTC);
//     pointers, slices, strings, arrays, nested structs and recursive types are
//     stored; shared and cyclic pointers inside one value keep their shape. The
//     addresses of net/netip, and types that cannot be stored so and have a pair of
//     MarshalBinary or MarshalText and its inverse, are stored by their bytes.
//     Pointers that are compared and not followed are refused, such as those of
//     unique.Handle, and pointers into the middle of another part of the value, when
//     it is stored. VALUES.md has the table, and what to use instead.
//
// Borrowed or yours: what arrives by value (Get, keys of iterators) or through
// Modify and Upsert is the caller's own, fully copied. Only a *V from Peek or from
// an iterator is borrowed: it points into the space, is read-only, and is valid
// until its transaction ends. Clone copies it whole. Of a value with parts that are
// stored by their bytes, it is a copy: to write to it changes nothing.
//
// What is promised: when a process dies, in any way, at any instruction, every
// commit that returned is there, and one that had not is there whole or not at
// all; other processes go on. When the machine loses power, the space is that of
// an earlier committed version, at most the flush interval old (WithFlushInterval)
// plus the time that writing takes; after Sync, and with Durable, nothing that was
// acknowledged is lost.
//
// A program that is killed and started again goes on from its last checkpoint with
// Resume: its state, and all that it has changed, are committed together.
//
// A Space, and a handle such as Map, Sorted, List or Ref, may be used by any number of goroutines. A
// writing Tx belongs to one goroutine.
package everheap
