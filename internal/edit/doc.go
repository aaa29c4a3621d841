// Package edit reads and changes objects within one version of a space: maps, lists, single
// values, the types they are stored with, and the names they have.
//
// An Editor is what a transaction is as far as objects are concerned: the state of its version,
// a reader, and, if it writes, a transaction of the heap, which takes new blocks and logs what
// has changed. Whoever has the transaction begins it, keeps its version from being reclaimed,
// and publishes it or does not: nothing here waits, knows of other processes, or touches a file.
// A Store is what all editors of one space have in common: stored types that were decoded and
// compared with Go types, layouts, and what was found in the version that was read last.
//
// Objects are named by MapOf, ListOf and RefOf, together with the Go types by which a program
// accesses them; an act compares those with the stored types first, or finds that this was done
// before. Stored is an object that is accessed by its stored types alone; storedOf has how, for
// each kind. A Comparison finds what differs between two versions.
//
// What holds:
//
//   - An act that fails for what the program wants, such as a value that cannot be stored, has
//     changed nothing, and the transaction goes on. One that fails later leaves a tree that may
//     be half changed: then the editor can only abort (Editor.Fail).
//   - What is remembered for others is true of published objects alone, or of a version that
//     it names: see E13, and R1 of package recast.
//   - One goroutine at a time changes objects by an editor: see BeginChange.
//   - A change is logged when it has been made, and applying what was logged makes the same
//     version again.
//
// Start reading at Editor, then Editor.Bind and Editor.Set.
package edit
