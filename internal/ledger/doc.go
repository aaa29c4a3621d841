// Package ledger asserts, in builds with the tag invariants, that each piece of a heap has one
// owner. Without the tag nothing of it is called.
//
// The ledger names the owner of each piece of the heap: each block of an extent that was cut
// into blocks, and each other extent. All processes share it (invariant.Record). Each change
// of hands asserts the owner before, so a piece with two owners fails when it gets the
// second one, and not when one of them overwrites the other.
//
// A word has the kind of the owner, its incarnation, and the epoch of sweeps under which it
// became the owner. 0 means that nobody has said anything yet: everybody may take such a
// piece.
//
// A process that stands still or dies between a real change and that of the ledger must not
// make others panic. Therefore:
//
//	O1  A process that gives a piece up changes the ledger first, and then really gives it
//	    up; a process that gets one really gets it first, and then changes the ledger. In
//	    between the ledger says that the piece is on its way (Version, Batch, Freeing,
//	    Reserve). Such an owner is a place and no process, so a process that finds the
//	    piece there may take it; and none finds it there that could not really have it.
//	O2  Only the process that owns a piece (Free, Loose, Taken, Waiting) changes it, alive,
//	    and using its lists. Death leaves it so. Only a sweep takes over from the dead.
//	O3  A sweep changes nothing in the ledger when it begins: it raises the epoch. A process
//	    no longer owns what it had below the floor under an older epoch (I7): so it is
//	    refused a word that says Free, Waiting or Several under another epoch than its
//	    own, below the floor as of when it last forgot. It still owns what its transaction
//	    has: a sweep beside that is the process's own (upkeep.Upkeep.SweepWithin).
//	O4  Nobody has had what a sweep takes since it began, whatever the word says of the time
//	    before: the dead, the lists that were forgotten, versions that are gone. So the word
//	    is of an older epoch. A sweeper that stood still finds another epoch, and takes
//	    nothing.
//
// Hand-over by hand-over, with what a kill between the two changes leaves:
//
//	O5  A transaction takes (Free -> Taken), gives back what is no part of its version
//	    (Taken -> Loose), and what it has written if it aborts (Taken, Version -> Loose): both
//	    owners are the same process, so the order does not matter (O2). What is Loose is in
//	    no list; putting it into one (Loose -> Free) is done once.
//	O6  It seals (Taken -> Version), before the swap. A kill before the swap leaves blocks of a
//	    version that was never published: a sweep takes them. After the swap they belong to
//	    everybody, and any process may free them as soon as it sees them; so the ledger
//	    must be complete before. What is no part of the version stays Taken: the version
//	    does not reach it, and its owner keeps it after the swap (I9).
//	O7  It frees blocks of its base (Version -> Waiting), after the swap: until then they are
//	    its base's, and the swap may fail. One version frees a block, so nobody else does
//	    meanwhile. A kill in between leaves blocks of no version: a sweep takes them.
//	    After a restore a block may be freed again that waits in a list since before (C2):
//	    then several have it (Several), for as long as the restored version is pinned, and
//	    nobody may settle it. A list that was forgotten does not count (O3).
//	O8  Settling (Waiting -> Loose) is of one process (O2).
//	O9  A process enters what goes into a batch before it pushes the chain (Free -> Batch,
//	    Waiting -> Freeing; the block of the batch itself: Taken -> Batch), and a process
//	    that has taken the chain enters what it accepts (Batch -> Free or Loose, Freeing ->
//	    Waiting). A kill before the push, or after the taking, leaves a batch that is in no
//	    stack: a sweep takes it. A stack has one epoch, and so have the words of all that
//	    is in it. A sweep enters what it spares anew, under its epoch, before it pushes it.
//	O10 Cells of the reserve are the same (Free -> Reserve before the swap into the cell,
//	    Reserve -> Free after the swap out of it; if the first swap fails, Reserve -> Free
//	    again, since the extent was never in a cell). But cells outlive sweeps (RV1).
//	O11 A process enters space that nobody ever had (0 -> Free) after the swap that made it
//	    the owner. A kill in between leaves it unknown: a sweep takes it. What the last
//	    user cuts off the end (Free -> 0) is such space again.
//	O12 An extent that is cut (Free -> Blocks, and each block Free), one whose blocks are all
//	    free (Blocks -> Free), and a run (Free -> Taken, of each extent) are of one process
//	    all the time. A kill in the middle of it leaves some words as they were: a sweep
//	    takes all. Of an extent that is cut the blocks have owners, and the extent has none.
//	O13 Holes are free extents. A process that punches or allocates one owns it before and
//	    after.
//
// Start reading at Ledger.Took and the other methods of hands.go.
package ledger
