// Package ledger asserts, in builds with the tag invariants, that each piece of a heap has
// one owner. Other builds do not call it.
//
// The ledger names the owner of each piece of the heap: of each block of an extent that was
// cut into blocks, and of each other extent. All processes share it (invariant.Record). Each
// change of owner asserts the previous owner. So a second owner fails when it takes the
// piece, and not later when one owner overwrites the other's data.
//
// A word has the kind of the owner, its incarnation, and the epoch of sweeps under which it
// became the owner. 0 means that the owner is unknown: any process may take such a piece.
//
// A process may stand still or die between a real change of owner and its change of the
// ledger. That must not make other processes panic. Therefore:
//
//	O1  A process that gives up a piece first changes the ledger and then really gives up the
//	    piece. A process that takes a piece first really takes it and then changes the
//	    ledger. In between, the ledger says that the piece is in transit (Version, Batch,
//	    Freeing, Reserve). Such an owner is a place and not a process. So a process that
//	    takes the piece from there is right, and only a process that can really take it finds
//	    it there.
//	O2  If a process owns a piece (Free, Loose, Taken, Waiting), only this process changes
//	    the piece's word, while it uses its lists. If it dies the word stays. Only a sweep
//	    takes pieces from dead processes.
//	O3  A sweep does not change the ledger when it begins: it raises the epoch. A process
//	    then no longer owns the pieces below the floor that it had under an older epoch (I7).
//	    So the ledger refuses it a word that says Free, Waiting or Several under an epoch
//	    other than its own, below the floor at which it last forgot its lists. It still owns
//	    the pieces of its transaction: a sweep during the transaction is the process's own
//	    (upkeep.Upkeep.SweepWithin).
//	O4  No process has had a piece that a sweep takes since the sweep began. The word may
//	    still name an earlier owner: a dead process, a list that was forgotten, a version
//	    that is gone. So the word is of an older epoch. A sweeper that stood still finds
//	    another epoch, and takes nothing.
//
// The changes of owner one by one, and what a kill between the two changes leaves:
//
//	O5  A transaction takes a piece (Free -> Taken), gives back a piece that its version does
//	    not use (Taken -> Loose), and gives back all pieces that it has written if it aborts
//	    (Taken, Version -> Loose). Both owners are the same process, so the order does not
//	    matter (O2). A Loose piece is in no list; the process puts it into a list once (Loose
//	    -> Free).
//	O6  It seals its blocks (Taken -> Version) before the swap. A kill before the swap leaves
//	    blocks of a version that was never published: a sweep takes them. After the swap any
//	    process may free these blocks as soon as it sees them, so the ledger must be complete
//	    before. A block that the version does not use stays Taken: no other process can reach
//	    it, and its owner keeps it after the swap (I9).
//	O7  It frees blocks of its base (Version -> Waiting) after the swap: until then they
//	    belong to the base, and the swap may fail. Only one version frees a block, so no
//	    other process does so meanwhile. A kill in between leaves blocks that belong to no
//	    version: a sweep takes them. After a restore a version may free a block that has been
//	    waiting in a list since before the restore (C2). Then several processes have it
//	    (Several) as long as the restored version is pinned, and none of them may settle it.
//	    A list that was forgotten does not count (O3).
//	O8  One process settles a block (Waiting -> Loose) (O2).
//	O9  A process changes the words of a batch's pieces before it pushes the chain (Free ->
//	    Batch, Waiting -> Freeing; for the block of the batch itself: Taken -> Batch). A
//	    process that has taken the chain changes the words of the pieces that it accepts
//	    (Batch -> Free or Loose, Freeing -> Waiting). A kill before the push or after the
//	    taking leaves a batch that is in no stack: a sweep takes it. A stack has one epoch,
//	    and so do the words of all pieces in it. A sweep that spares a batch first changes
//	    the words of its pieces to the sweep's epoch, and then pushes it.
//	O10 Cells of the reserve work in the same way: Free -> Reserve before the swap into the
//	    cell, Reserve -> Free after the swap out of it, and Reserve -> Free as well if the
//	    first swap fails, since the extent was never in a cell. But cells outlive sweeps
//	    (RV1).
//	O11 A process takes space that no process ever had (0 -> Free) after the swap that made
//	    it the owner. A kill in between leaves the owner unknown: a sweep takes the space.
//	    Extents that the last user cuts off the end (Free -> 0) are such space again.
//	O12 One process owns all pieces while it cuts an extent (Free -> Blocks, and each block
//	    Free), joins an extent whose blocks are all free (Blocks -> Free), and takes a run
//	    (Free -> Taken, for each extent). A kill in the middle leaves some words unchanged: a
//	    sweep takes all. In an extent that is cut the blocks have owners, and the extent has
//	    none.
//	O13 Holes are free extents. A process that punches or allocates one owns it before and
//	    after.
//
// Start reading at Ledger.Took and the other methods of hands.go.
package ledger
