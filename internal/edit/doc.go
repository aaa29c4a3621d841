// Package edit reads and changes objects within one version of a space: maps, lists, single
// values, the types they are stored with, and the names they have.
//
// An Editor is the part of a transaction that knows objects: it has the state of its version, a
// reader, and, if it writes, a transaction of the heap, which allocates blocks and logs changes.
// The engine begins the transaction, keeps its version from being reclaimed, and commits or aborts
// it: an editor never waits, knows of no other process, and touches no file. A Store is shared by
// all editors of a space: it caches decoded stored types, their comparison with Go types, layouts,
// and what was found in the version that was read last.
//
// MapOf, ListOf and RefOf name an object together with the Go types by which the program accesses
// it. Each operation first compares these types with the stored types, or finds the outcome of an
// earlier comparison. Stored is an object that is accessed by its stored types alone; storedOf has
// the way to do so for each kind. A Comparison finds what differs between two versions.
//
// Rules:
//
//   - An operation that fails because of what the program passed, such as a value that cannot be
//     stored, has changed nothing, and the transaction can continue. An operation that fails later
//     may leave a tree half changed: then the editor can only abort (Editor.Fail).
//   - A cache that other transactions read holds only facts about published objects, or facts about
//     a version that it names: see E13, and R1 of package recast.
//   - One goroutine at a time changes objects with an editor: see BeginChange.
//   - An editor logs each change after it has made it, and applying the log makes the same version
//     again.
//
// Start reading at Editor, then Editor.Bind and Editor.Set.
package edit
