package invariant

// An Event is what a process has done, in builds with the tag: see Record.
type Event uint8

// The events. In brackets stand what the three numbers of Record.Note mean: at, an address;
// and a and b. Those of the first group are changes of hands: at is a block, or the first of
// some extents, a are the owners before and after (Change), and b is the size in bytes.
const (
	NoEvent Event = iota

	Took     // a transaction took free space
	Sealed   // a version is about to have it: not noted, the swap is
	Freed    // a version has freed it, and it waits until no held version has it
	Settled  // no version that is held has it any more: it is free
	Returned // a transaction gives back what is no part of its version
	Listed   // it is put into the lists of free space: not noted
	Pushed   // it is in a free-block batch
	Accepted // it came out of a free-block batch
	Carved   // it is space that was never used
	CutOff   // the last process takes it off the end of the file: it has no owner
	Cut      // an extent became blocks
	Joined   // all blocks of an extent are free: it is one again
	Found    // a sweep has found it
	Lent     // it lies in a cell of the reserve
	Unlent   // it was taken out of a cell
	Spared   // a sweep leaves it in the stack
	Leaked   // it is in no list any more, since it does not fit its place

	Began     // an incarnation (a) joins
	Left      // it has left
	Dead      // an incarnation (a) was found dead
	TookOver  // the writer lock from an incarnation (a), which is dead (b 0) or stands still (b 1)
	Swapped   // the current state from the state at b to the one at at, version a
	Lost      // the swap of that, since the state is another one
	Epoch     // a sweep begins: epoch a, floor b
	Forgot    // the lists below the floor b, because of epoch a
	Abandoned // all lists, after a page could not be read
	GaveUp    // a sweep that had begun, of epoch a
	Swept     // the end of a sweep of epoch a: b bytes
	Grew      // the file up to offset b
	Marked    // b bytes of extents at at as holes
	Punched   // the space of b bytes at at given back to the file system
	Anchored  // version a, in slot b
	Unusual   // a process without the tag was here: the ledger asserts nothing any more
)
