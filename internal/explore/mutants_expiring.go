package explore

// expiringMutants has the mutants of the clock by which entries expire.
var expiringMutants = []Mutant{
	{
		Name: "told-of-nothing", Finds: "expiry, and a clock that jumps",
		What: "a caller is told that an entry is gone, and the clock of the space does not note it (EX2)",
		Changes: []Change{{"expiry/expiry.go",
			"\tat, mark := uint64(max(instant, 0)), c.mark()\n",
			"\tat, mark := uint64(max(instant, 0)), c.mark()\n\tif MUTANT {\n\t\treturn\n\t}\n"}},
	},
	{
		Name: "bit-kept", Finds: "expiry",
		Near: []string{"expire.", "commit.", "Passed", "mark"},
		What: "a process that tells a caller of an expired entry leaves the bit that lets the mark go back (EX3)",
		Changes: []Change{{"expiry/expiry.go",
			"old&settling != 0 || old < at;",
			"!MUTANT && old&settling != 0 || old&^settling < at;"}},
	},
	{
		Name: "settled-in-old", Finds: "expiry",
		Near: []string{"expire.", "commit.", "mark", "Settler", "Held"},
		What: "the mark goes back although the version in which nothing is due is not the newest (EX3)",
		Changes: []Change{{"expiry/expiry.go",
			"\tif r.Live.Current() != v.Held() {\n",
			"\tif !MUTANT && r.Live.Current() != v.Held() {\n"}},
	},
	{
		Name: "due-unseen", Finds: "expiry",
		Near: []string{"expire.", "commit.", "mark", "Settler"},
		What: "the mark goes back although an entry is due at it that was not removed (EX3)",
		Changes: []Change{{"expiry/expiry.go",
			"\tif err != nil || due != 0 && due <= int64(at) {\n",
			"\tif err != nil || !MUTANT && due != 0 && due <= int64(at) {\n"}},
	},
	{
		Name: "settlers", Finds: "two removers",
		Near: []string{"expire.", "mark", "commit."},
		What: "a process lets the mark go back by a bit that another process has set again (EX3)",
		Changes: []Change{{"expiry/expiry.go",
			"\tif other := w.Settler.Load(); r.Live.Alive(format.Incarnation(other)) || !w.Settler.CompareAndSwap(other, me) {\n",
			"\tif other := w.Settler.Load(); !MUTANT && (r.Live.Alive(format.Incarnation(other)) || !w.Settler.CompareAndSwap(other, me)) {\n"}},
	},
}
