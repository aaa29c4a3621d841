// Package everheap keeps ordinary Go objects in memory that is mapped to a file and shared
// by every process that opens it. The objects survive exit, crash and restart. Reading one
// follows a pointer: no decoding, no copying, no server.
//
// The rules of the model:
//
//  1. Stored values are frozen. Set copies the value, with everything it owns, into
//     the space. Set, Modify and Upsert change a stored value; a write through a
//     pointer faults, and its transaction returns ErrFault.
//  2. Identity is explicit. A value owns its fields of ordinary types. A Ref, Map,
//     Sorted or List field refers to an object that others can refer to as well;
//     cycles and sharing are fine. Storing a handle whose object does not exist
//     returns ErrDangling.
//  3. A transaction sees one version and publishes one version. Readers never wait
//     for writers, and writers never wait for readers.
//  4. A program finds objects by name, in the catalog of their space, or through
//     other objects. A collector drops objects that no name reaches, in the
//     background or by Collect: an object that nothing refers to when its
//     transaction ends may vanish.
//  5. The first use of a type refuses what cannot be stored, with the path of the
//     field: channels, functions, uintptr, unsafe.Pointer, anything that holds a lock.
//     Pointers, slices, strings, arrays, nested structs, recursive types and time.Time (as
//     UTC) can be stored; shared and cyclic pointers inside one value keep their shape. A
//     Dict is a map that a value owns. Values with built-in maps, or with interfaces, whose
//     concrete types Register names, are copied only: Get and Copies make real ones, and
//     methods that lend values refuse the type. The addresses of net/netip, and types that
//     cannot be stored by their fields but have MarshalBinary or MarshalText and its
//     inverse, are stored by their bytes. Pointers that are compared and not
//     followed, such as those of unique.Handle, are refused, and so are pointers into
//     the middle of another part of the value, when it is stored. VALUES.md has the
//     table, and what to use instead.
//
// Borrowed or yours: what arrives by value (Get, keys of iterators) or through Modify and
// Upsert is the caller's own, fully copied. Only a *V from Peek or from an iterator is
// borrowed: it points into the space, is read-only, and is valid until its transaction ends.
// Clone copies it whole. If parts of a value are stored by their bytes, Peek returns a copy,
// and writing to that changes nothing.
//
// What is promised: a process may die, in any way, at any instruction; every commit that
// returned is kept, an unfinished one is kept whole or not at all, and other processes
// continue. After a power loss the space holds an earlier committed version, at most the
// flush interval old (WithFlushInterval) plus the time that writing takes. After Sync, and
// with Durable, nothing acknowledged is lost.
//
// Resume runs a program that can be killed and started again: it continues from its last
// checkpoint, and its state and all its changes are committed together.
//
// Any number of goroutines may use a Space, and a handle such as Map, Sorted, List or Ref. A
// writing Tx belongs to one goroutine.
package everheap
