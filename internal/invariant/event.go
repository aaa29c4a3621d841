package invariant

// An Event is an act of a process, in builds with the tag: see Record.
type Event uint8

// The events. The comments give the meaning of the numbers of Record.Note: at, an address,
// and a and b. The events of the first group are changes of hands: at is a block, or the
// first of some extents; a has the owners before and after (Change); b is the size in bytes.
const (
	NoEvent Event = iota

	Took     // a transaction took free space
	Sealed   // a version is about to own it: not noted, but the swap is
	Freed    // a version has freed it, and it waits until no held version uses it
	Settled  // no held version uses it any longer: it is free
	Returned // a transaction gives it back, since its version does not use it
	Listed   // a process puts it into its lists of free space: not noted
	Pushed   // it is in a free-block batch
	Accepted // a process has taken it out of a free-block batch
	Carved   // a process has taken it from the space that was never used
	CutOff   // the last process cuts it off the end of the file: it has no owner
	Cut      // an extent was cut into blocks
	Joined   // all blocks of an extent are free, and are joined to an extent again
	Found    // a sweep has found it
	Lent     // it is in a cell of the reserve
	Unlent   // a process has taken it out of a cell
	Spared   // a sweep leaves it in its stack
	Leaked   // a process has left it to a sweep, since it does not fit where it lies

	Began     // an incarnation (a) joins
	Left      // the incarnation leaves
	Dead      // an incarnation (a) was found dead
	TookOver  // takes over the writer lock from an incarnation (a), which is dead (b 0) or stands still (b 1)
	Swapped   // swaps the current state: from the state at b to the state at at, of version a
	Lost      // has lost this swap, since another state is current
	Epoch     // a sweep begins: epoch a, floor b
	Forgot    // forgets its lists below the floor b, because of epoch a
	Abandoned // abandons all its lists, after a page could not be read
	GaveUp    // gives up its sweep of epoch a
	Swept     // ends its sweep of epoch a, which has found b bytes
	Grew      // extends the file up to offset b
	Marked    // marks b bytes of extents at at as holes
	Punched   // gives the disk space of b bytes at at back to the file system
	Anchored  // anchors version a in slot b
	Unusual   // a process without the tag was here: from now on the ledger asserts nothing
)
