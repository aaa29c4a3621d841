package explore

// lockMutants has the mutants of named locks and of the writer lock.
var lockMutants = []Mutant{
	{
		Name: "named-twice", Finds: "a mutex",
		Near: []string{"Namings", "inside"},
		What: "a lock is named without looking whether another lock got a name since the search (L6)",
		Changes: []Change{{"live/names.go",
			"\tif !v.words.Namings.CompareAndSwap(namings, number<<format.LockIndexBits|uint64(i)) {\n",
			"\tif MUTANT {\n\t\tv.words.Namings.Store(number<<format.LockIndexBits | uint64(i))\n\t} else if !v.words.Namings.CompareAndSwap(namings, number<<format.LockIndexBits|uint64(i)) {\n"}},
	},
	{
		Name: "death-untold", Finds: "a mutex",
		Near: []string{"inside", "mutex."},
		What: "the next holder is not told that the previous one has died (L9)",
		Changes: []Change{{"live/named.go",
			"\t\t\th.dead = w // it was held, not offered\n",
			"\t\t\tif !MUTANT {\n\t\t\t\th.dead = w\n\t\t\t} // it was held, not offered\n"}},
	},
	{
		Name: "offer-held", Finds: "giving up a mutex",
		Near: []string{"mutex.", "Waiting", "owner."},
		What: "a lock stays offered to a process that gave up before it could see the offer (L8)",
		Changes: []Change{{"live/named.go",
			"\t\tif p.waitedFor(next.Entry()) || !owner",
			"\t\tif MUTANT || p.waitedFor(next.Entry()) || !owner"}},
	},
	{
		Name: "turn-kept", Finds: "giving up writing",
		Near: []string{"Owner", "Starving"},
		What: "the writer lock stays with a process that had given up when it was handed the lock (L3)",
		Changes: []Change{{"turn/turn.go",
			"\tif !w.Live.OwnsWriter() || !w.Queue.TryLock() {\n",
			"\tif MUTANT || !w.Live.OwnsWriter() || !w.Queue.TryLock() {\n"}},
	},
}
