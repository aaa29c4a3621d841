// Package explore runs several processes of one space in all orders, within bounds, and
// looks after each run whether everything is right. What it runs is the real code of
// internal/engine, internal/heap, internal/live and internal/journal.
//
// A process is an engine.Space of its own, with its own memory, its own locks of the
// system, and its own mapping of the live file; all of them are in one process of the
// system and share the mapping of the heap. A thread is a goroutine of one of them. Exactly
// one thread runs at a time.
//
// A step is what a thread does from one access of a shared word to the next one: an atomic
// operation, a lock of the system, a mutex of the process, a point of package invariant.
// The sources have no trace of that: Instrument rewrites copies of them (a call of package
// step stands before each access), which the go command uses in their place (-overlay). So
// what somebody adds to the protocols is explored with the rest. Futexes, clocks and sleeps
// become waiting for others; time passes when all wait, and no heart beats meanwhile. Some
// constants are set to small values, which decide how soon something is done, never whether it
// is right.
//
// A schedule says who makes the next step. By default a thread runs until it ends or waits.
// A deviation lets another one go on right before a step: then the thread stands still until
// all others have ended or wait, or another deviation lets it go on; so one deviation is a
// process that is stopped, taken over, and continued at the very end. Or it kills the
// process: nothing more of it happens, and its locks are gone. All schedules with so many
// deviations are run, the defaults first. A waiter may lose its patience at no cost: that is
// the take-over from one who stands still, after a tick here instead of forty.
//
// Deviations are tried before steps that somebody else can tell of only: a word counts as
// shared when two processes have used it and one has written it, as seen in the runs so far.
//
// A process can fork, in any of its threads, while another one of them stands anywhere in a
// transaction. The fork is a process whose memory is a copy of all that can be reached from the
// Space: a copier walks through it by its types, and keeps what leads out of Go memory. It has the
// same open files, and the words and the heap mapped, also what the kernel keeps from a fork: so
// what is explored is that it is refused, and not that it would fault. The runtime's threads of
// the parent do not go on in it.
//
// Where a scenario says so, a deviation also cuts the live file, empties it, or writes over it:
// once, right before any step whatever. Then each access of a word must be one whose fault is a
// panic, each call must end with the error that says so, or have come to its end before, and who
// opens the space when all have closed it must find all that was said to be durable. Or the space
// begins as one that has lost power, with records of the undone history in its journal.
//
// After a run everybody who is alive must have ended, and none can be waiting for ever. A
// process that has just opened the space checks it as engine.Space.Check does; every 16 bytes of the
// heap have one owner at most, be it the newest version, the lists of a process or a stack of
// batches; each key has the value of the newest version that was acknowledged, or of one
// whose process died in it. Then everybody goes on, a sweep is made, and all is looked at
// again. Readers compare what they see in one version more than once. The journal has what it is
// said to have, from the older usable anchor on, and tells of a version what that has set. An extent
// without space in the file is marked as a hole, and was so on disk when its space was given
// back; no usable anchor reaches beyond the end of the file. A sweep is due if one has made all
// forget their lists and has come to no end, or if blocks were left to one. Files at rest are short,
// and stay as they are. A fork was refused all that it tried. A named lock had as many holders as it
// has permits, who comes after one that has died with it was told, and no lock is left with one that
// gave up waiting for it. Who was told that an entry has expired never finds it again, nor does anybody
// who asks later, whatever becomes of the wall clock. A subscription that is not lost has the frames of all
// versions after its own and keeps no more than it may; a replica has applied each frame once, and
// nobody has published anything else there.
//
// Mutants take single fixes out of the rewritten copies; the scenario that is named with
// each must fail then. A mutant by which a fork is not refused must do harm to be found.
//
// What is not covered: the order of memory accesses as processors see it (steps are
// sequentially consistent); plain reads and writes of blocks between two steps, which
// nobody comes in between of; losses of power (package powercut has those), except that
// engine.Space.Check verifies what a recovery would need; of forks what their kernel and their runtime
// do (those of the system are tried by the tests of the library), named locks and watches of a
// fork, and a fork in the middle of opening or closing a space; more deviations and processes
// than were run; what no scenario does.
//
// Start reading at Scenarios, schedule.Step and Run.judge; for the rewriting at Instrument; for
// forks at Run.fork.
package explore
