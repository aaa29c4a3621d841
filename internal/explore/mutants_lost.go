package explore

// lostMutants has the mutants in which a process dies of a damaged live file, or keeps using
// words that are lost.
var lostMutants = []Mutant{
	{
		Name: "member-by-halves", Finds: "losing live: opening and closing, cut",
		Near: []string{"live/process.go"},
		What: "a process whose live file is lost while it joins leaves as if it had joined, and panics (L15)",
		Changes: []Change{{"live/process.go",
			"\tcount := v.words.NextIncarnation.Add(1)\n",
			"\tif MUTANT {\n\t\tv.entry = e\n\t}\n\tcount := v.words.NextIncarnation.Add(1)\n"}},
	},
	{
		Name: "unguarded", Finds: "losing live: reading and writing, cut",
		What: "a fault on the words of live ends the process (L15, X2)",
		Changes: []Change{{"member/guard.go",
			"\tdefer m.EndGuard(debug.SetPanicOnFault(true), &err)\n\treturn fn()\n",
			"\tdefer m.EndGuard(debug.SetPanicOnFault(!MUTANT), &err)\n\treturn fn()\n"}},
	},
	{
		Name: "watch-by-halves", Finds: "losing live: mutexes and watches, cut",
		Soon: []string{"v.words.Current.Load"},
		What: "a watcher keeps the slot of a view that did not begin because the words are lost (X2)",
		Changes: []Change{{"watch/watchers.go",
			"\tif err != nil {\n\t\tv.Drop()\n",
			"\tif err != nil {\n\t\tif !MUTANT {\n\t\t\tv.Drop()\n\t\t}\n"}},
	},
	{
		Name: "seal-unlooked", Finds: "losing live: sweeping and compacting, cut and made longer",
		Soon: []string{"h.live.Words().Carved.Load"},
		What: "no process looks at the seal before it acts on words (L14, L16)",
		Changes: []Change{{"live/lost.go",
			"func (v *Live) Assure() {\n\tif v.words",
			"func (v *Live) Assure() {\n\tif !explored.Mutant(\"seal-unlooked\") && v.words"}},
	},
	{
		Name: "salt-unlooked", Finds: "losing live: reading and writing, cut and made longer",
		What: "no process verifies that the current state is from a whole file (L14)",
		Changes: []Change{{"live/lost.go",
			"{ return v.words.Salt.Load() == v.seal }",
			"{ return explored.Mutant(\"salt-unlooked\") || v.words.Salt.Load() == v.seal }"}},
	},
	{
		Name: "as-it-looks", Finds: "losing live: reading and writing, cut and made longer",
		What: "an error that comes from lost words is reported as what it looks like (X6)",
		Changes: []Change{{"member/lost.go",
			"\tif errors.Is(err, failure.ErrLiveLost) {\n\t\treturn nil\n\t}\n\tfor _",
			"\tif MUTANT || errors.Is(err, failure.ErrLiveLost) {\n\t\treturn nil\n\t}\n\tfor _"}},
	},
	{
		Name: "lost-bound", Finds: "losing live: reading and writing, written over",
		What: "an address is used because it lies below a bound that is lost (L16)",
		Changes: []Change{{"heap/heap.go",
			"\tcarved := h.live.Carved() // of words that are lost",
			"\tbound := h.live.Carved\n\tif MUTANT {\n\t\tbound = h.live.Words().Carved.Load\n\t}\n\tcarved := bound() // of words that are lost"}},
	},
}
