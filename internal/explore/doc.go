// Package explore runs several processes of one space in all orders of their steps, within
// bounds, and judges the result of each run. It runs the real code of internal/engine,
// internal/heap, internal/live and internal/journal.
//
// A process is an engine.Space with its own memory, its own locks of the system, and its own
// mapping of the live file. All explored processes live in one process of the system, and
// share the mapping of the heap. A thread is a goroutine of an explored process. Exactly one
// thread runs at a time.
//
// A step is everything that a thread does from one access of a shared word to the next one.
// An access is an atomic operation, a lock of the system, a mutex of the process, or a point
// of package invariant. The sources contain no trace of steps: Instrument rewrites copies of
// them, with a call of package step before each access, and the go command builds the copies
// in their place (-overlay). So a later change of the protocols is explored without further
// work. Futexes, clocks and sleeps become waits for other threads; time passes only while all
// threads wait, and no process has a heartbeat. Some constants get small values. Those
// constants decide how soon something is done, never whether it is right.
//
// A schedule decides which thread makes the next step. By default a thread runs until it ends
// or waits. A deviation lets another thread run right before a step. The first thread then
// stands still until all others have ended or wait, or until another deviation resumes it: so
// one deviation is a process that is stopped, taken over, and continued at the very end. Or a
// deviation kills the process: its threads run no further, and its locks are released. Explore
// runs all schedules with a given number of deviations, the defaults first. A waiter may give
// up waiting without a deviation: so it takes over from a process that stands still, after one
// tick here instead of forty.
//
// The schedule deviates only before steps whose effects another process can notice. A word
// counts as shared once two processes have used it and one of them has written it, in the runs
// so far.
//
// A process can fork, in any of its threads, while another of its threads stands anywhere in a
// transaction. The child's memory is a copy of everything that can be reached from the Space:
// a copier walks through it by its types, and keeps the pointers that lead out of Go memory.
// The child has the same open files, and the words and the heap mapped, even where the kernel
// would exclude them from a fork. So the exploration shows that the library refuses the child,
// and not that the child would fault. Threads that the parent's runtime runs do not continue
// in the child.
//
// In some scenarios the schedule also damages the live file: it truncates, empties or
// overwrites it, once, right before any step. Then a fault at each access of a word must be a
// panic. Each call must have finished before, or end with the error for a lost live file. When
// all processes have closed the space, the next opener must find everything that was
// acknowledged as durable. In other scenarios the space begins after a power loss, with records
// of the undone history in its journal.
//
// After a run the judge requires the following.
//
//   - Every process that is alive has ended its work, and none waits for ever.
//   - A process that opens the space then finds no damage, as engine.Space.Check does.
//   - Every 16 bytes of the heap have at most one owner: the newest version, the lists of one
//     process, or a stack of batches.
//   - Each key has the value of the newest acknowledged version, or of a version whose
//     process died in its commit.
//   - Reads of one version, made more than once, agree.
//   - The journal has all records that it must have, from the older usable anchor on, and each
//     record has the changes of its version.
//   - An extent without disk space is marked as a hole, and the mark was on disk before the
//     space was given back. No usable anchor reaches beyond the end of the file.
//   - A sweep is due if a sweep has made all processes forget their lists and did not finish,
//     or if blocks were left to a later sweep.
//   - The files of a space at rest are short, and stay as they are.
//   - The library has refused a fork everything that it tried.
//   - A named lock never had more holders than permits; the next holder after a death was told
//     of it; and no lock stays with a process that gave up waiting for it.
//   - Once a caller was told that an entry has expired, neither this caller nor any later one
//     finds the entry again, whatever happens to the wall clock.
//   - A subscription that is not lost has the frames of all versions after its own, and keeps
//     no more than its limit. A replica has applied each frame once, and published nothing
//     else.
//
// Then the processes continue, one of them sweeps, and the judge looks again.
//
// A mutant takes a single fix out of the rewritten copies. The scenario that it names must
// fail then. A mutant that lets a fork do something counts as found only if the fork does harm.
//
// The exploration does not cover the order of memory accesses on a processor (steps are
// sequentially consistent); other threads between two plain reads and writes of blocks within
// a step; power losses (package powercut has those), except that engine.Space.Check verifies
// what a recovery would need; the kernel's and the runtime's part of a fork (the tests of the
// library fork for real), named locks and watches in a fork, and a fork in the middle of
// opening or closing a space; more deviations and processes than were run; and actions that
// are in no scenario.
//
// Start reading at Scenarios, schedule.Step and Run.judge; for the rewriting at Instrument; for
// forks at Run.fork.
package explore
