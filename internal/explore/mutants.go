package explore

// A Mutant is the library with one fix taken out. Its changes are made to the copies of
// the sources that are explored, and count only where the mutant is chosen; the library
// itself has none of it.
type Mutant struct {
	Name    string
	What    string // that goes wrong
	Finds   string // the scenario that finds it
	Changes []Change
	// Near are parts of the names of the steps before which a schedule deviates; nil: all.
	// That is for what takes more than one deviation, and would take hours to be found
	// among all schedules that have so many.
	Near []string
	// Long says that it may take minutes to be found: not when all packages are tested.
	Long bool
}

// A Change is one of a text that is in a file once. MUTANT stands for the condition.
type Change struct{ File, Old, New string }

// Mutants are all there are.
var Mutants = []Mutant{
	{
		Name: "dropped-listed-late", Finds: "writers",
		What: "what a transaction does not need is found by reading its blocks after the swap (I9)",
		Changes: []Change{{"heap/txn.go",
			"\tfor _, b := range t.unused {\n",
			"\tif MUTANT {\n\t\tt.unused = t.unused[:0]\n\t\tfor _, a := range t.written {\n\t\t\tif hd := h.writable(a); t.dropped > 0 && hd.Kind() == format.KindNone {\n\t\t\t\tt.unused = append(t.unused, space{a, blockSize(hd)})\n\t\t\t}\n\t\t}\n\t}\n\tfor _, b := range t.unused {\n"}},
	},
	{
		Name: "spool-not-entered", Finds: "closing", Long: true,
		What: "a committer writes the journal while it holds nothing that Close waits for (E8)",
		Changes: []Change{{"engine/tx.go",
			"\t\tsp.views.Add(1) // before the turn is given",
			"\t\tif !MUTANT {\n\t\t\tsp.views.Add(1)\n\t\t} else {\n\t\t\tdefer sp.views.Add(1)\n\t\t} // before the turn is given"}},
	},
	{
		Name: "swap-ignores-base", Finds: "writers",
		What: "the swap of a commit goes through whatever was published since (I3, L3)",
		Changes: []Change{{"live/live.go",
			"if !v.words.Current.CompareAndSwap(uint64(base), uint64(next)) {\n",
			"if MUTANT {\n\t\tv.words.Current.Store(uint64(next))\n\t} else if !v.words.Current.CompareAndSwap(uint64(base), uint64(next)) {\n"}},
	},
	{
		Name: "base-not-held", Finds: "writers",
		What: "a writer lets go of its base before the swap, so that its address can come back (L3)",
		Changes: []Change{{"engine/tx.go",
			"\tinvariant.Point(\"commit.sealed\")\n",
			"\tif MUTANT {\n\t\tsp.live.Release(hold)\n\t\t*hold = sp.live.HoldCurrent()\n\t}\n\tinvariant.Point(\"commit.sealed\")\n"},
			{"engine/tx.go",
				"published = sp.live.Publish(hold.State, a)",
				"published = sp.live.Publish(base, a)"},
			{"engine/tx.go",
				"\tt.Free(hold.State)\n\tif ops",
				"\tbase := hold.State\n\tt.Free(hold.State)\n\tif ops"}},
	},
	{
		Name: "freed-before-swap", Finds: "writers",
		What: "what a transaction frees is listed as pending whether its version was published or not (I2)",
		Changes: []Change{{"engine/tx.go",
			"\tif !*published {\n\t\tt.Aborted()\n",
			"\tif !*published && MUTANT {\n\t\tt.Committed()\n\t\treturn nil\n\t}\n\tif !*published {\n\t\tt.Aborted()\n"}},
	},
	{
		Name: "slots-before-current", Finds: "readers",
		What: "blocks are reclaimed that the current version has freed, by a scan of the slots that was made before it was current (I2, L4)",
		Changes: []Change{{"heap/reclaim.go",
			"\th.live.Protected(&h.prot, h)\n",
			"\tif before := slices.Clone(h.prot.Versions); MUTANT && len(before) > 0 {\n\t\th.live.Protected(&h.prot, h)\n\t\th.prot.Versions = before\n\t} else {\n\t\th.live.Protected(&h.prot, h)\n\t}\n"}},
	},
	{
		Name: "reader-not-validated", Finds: "readers",
		What: "a reader does not look again whether the version that it has claimed is current still (L4)",
		Changes: []Change{{"live/slots.go",
			"\t\tif v.words.Current.Load() == state {",
			"\t\tif MUTANT || v.words.Current.Load() == state {"}},
	},
	{
		Name: "lists-kept", Finds: "sweep",
		What: "a process goes on with its lists although a sweep has begun (I7)",
		Changes: []Change{{"heap/heap.go",
			"if epoch := h.live.Words().Epoch.Load(); epoch != h.epoch {\n",
			"if epoch := h.live.Words().Epoch.Load(); epoch != h.epoch && MUTANT {\n\t\th.epoch = epoch\n\t} else if epoch != h.epoch {\n"}},
	},
	{
		Name: "epoch-before-active", Finds: "sweep",
		What: "a process looks at the epoch before it says that it uses its lists (I7)",
		Changes: []Change{{"heap/heap.go",
			"\th.live.Entry().Active.Store(1)\n\tif epoch",
			"\tif MUTANT {\n\t\tif epoch := h.live.Words().Epoch.Load(); epoch != h.epoch {\n\t\t\th.forget(epoch)\n\t\t}\n\t\th.live.Entry().Active.Store(1)\n\t\treturn\n\t}\n\th.live.Entry().Active.Store(1)\n\tif epoch"}},
	},
	{
		Name: "sweep-with-active", Finds: "sweep",
		Near: []string{"e.Active.Load", "sweep.", "begin.", "commit."},
		What: "a sweep goes on although somebody uses its lists (I7)",
		Changes: []Change{{"heap/sweep.go",
			"\tinvariant.Point(\"sweep.emptied\")\n",
			"\tinvariant.Point(\"sweep.emptied\")\n\tif MUTANT {\n\t\tothersActive = func() bool { return false }\n\t}\n"}},
	},
	{
		Name: "take-ignores-epoch", Finds: "sweeps", Long: true,
		Near: []string{"sweep.", "commit."},
		What: "a sweeper takes what it has found although another sweep has begun (I7)",
		Changes: []Change{{"heap/sweep.go",
			"\tif h.epoch != epoch || h.live.Words().Epoch.Load() != epoch {\n",
			"\tif !MUTANT && (h.epoch != epoch || h.live.Words().Epoch.Load() != epoch) {\n"}},
	},
	{
		Name: "taken-twice", Finds: "parcels", Long: true,
		Near: []string{"live/stacks.go", "parcel."},
		What: "the parcels of a stack are taken by a load and a store (stacks.go)",
		Changes: []Change{{"live/stacks.go",
			"\t\tif headOffset(h) == 0 || head.CompareAndSwap(h, h&^headAddrMask) {\n",
			"\t\tif MUTANT {\n\t\t\thead.Store(h &^ headAddrMask)\n\t\t\treturn headOffset(h), true\n\t\t}\n\t\tif headOffset(h) == 0 || head.CompareAndSwap(h, h&^headAddrMask) {\n"}},
	},
	{
		Name: "claim-protects-nothing", Finds: "an anchor",
		What: "the claim of an anchor slot does not protect the version that is written (L5, E4)",
		Changes: []Change{{"live/anchors.go",
			"\ta.Version.Store(uint64(version))\n}",
			"\tif MUTANT {\n\t\treturn\n\t}\n\ta.Version.Store(uint64(version))\n}"},
			{"live/anchors.go",
				"\ta.Confirmed.Store(1)\n",
				"\tif explored.Mutant(\"claim-protects-nothing\") {\n\t\ta.Version.Store(uint64((*format.State)(stateOf(a.State.Load())).Version))\n\t}\n\ta.Confirmed.Store(1)\n"}},
	},
	{
		Name: "newest-anchor-claimed", Finds: "anchors",
		What: "an anchor is written over one of the two newest confirmed ones (E4)",
		Changes: []Change{{"live/anchors.go",
			"if i == newest || i == second || a.owner",
			"if !MUTANT && (i == newest || i == second) || a.owner"}},
	},
	{
		Name: "anchors-unprotected", Finds: "anchors",
		What: "the versions of anchors are not protected (I2)",
		Changes: []Change{{"live/slots.go",
			"\tfor _, a := range v.protectedAnchors() {\n",
			"\tfor _, a := range v.protectedAnchors() {\n\t\tif MUTANT {\n\t\t\tbreak\n\t\t}\n"}},
	},
	{
		Name: "pins-unprotected", Finds: "checkpoints",
		What: "what a checkpoint pins is not protected (I2, C1)",
		Changes: []Change{{"live/slots.go",
			"\t\ts.Pins(state, insert)\n\t}\n",
			"\t\tif !MUTANT {\n\t\t\ts.Pins(state, insert)\n\t\t}\n\t}\n"},
			{"live/slots.go",
				"\ts.Pins(current, insert)\n",
				"\tif !explored.Mutant(\"pins-unprotected\") {\n\t\ts.Pins(current, insert)\n\t}\n"}},
	},
	{
		Name: "unheld-scan", Finds: "few slots",
		Near: []string{"scan.unheld", "commit.", "Words().Salt"},
		What: "a scan for the protected versions that gets no slot reads a state that may be another one by then (L12)",
		Changes: []Change{{"live/slots.go",
			"\t\tcurrent = v.validate(v.slots.scan.slot)\n",
			"\t\tif !MUTANT {\n\t\t\tcurrent = v.validate(v.slots.scan.slot)\n\t\t} else if i := v.takeSlot(); i >= 0 {\n\t\t\tcurrent = v.fillSlot(i)\n\t\t\tdefer v.leaveSlot(i)\n\t\t\tdefer v.slots.slot[i].State.Store(0)\n\t\t} else {\n\t\t\tcurrent = v.Current()\n\t\t}\n\t\tinvariant.Point(\"scan.unheld\")\n"},
			{"live/slots.go",
				"\t\"github.com/everheap/everheap/internal/format\"\n",
				"\t\"github.com/everheap/everheap/internal/format\"\n\t\"github.com/everheap/everheap/internal/invariant\"\n"}},
	},
	{
		Name: "gives-up-for-good", Finds: "giving up",
		Near: []string{"Epoch."},
		What: "a sweep that gives up after others had to forget their lists is not made up for (I4)",
		Changes: []Change{{"engine/background.go",
			"\t\t\tsp.live.Release(&hold)\n\t\t\tw.SweepWish.Store(1)\n",
			"\t\t\tsp.live.Release(&hold)\n\t\t\tif !MUTANT {\n\t\t\t\tw.SweepWish.Store(1)\n\t\t\t}\n"}},
	},
	{
		Name: "fails-for-good", Finds: "giving up",
		Near: []string{"sweep."},
		What: "a sweep that comes to no end after others had to forget their lists is not made up for (I4)",
		Changes: []Change{{"engine/background.go",
			"\t\tif w.Swept.Load() < epoch {\n",
			"\t\tif !MUTANT && w.Swept.Load() < epoch {\n"}},
	},
	{
		Name: "reaper-keeps-alive", Finds: "reaping",
		What: "a dead process counts as alive while somebody cleans up after it (L2, L11)",
		Changes: []Change{{"live/process.go",
			"\t\tv.letGoOf(old)\n\t\toff := format.LockReap + int64(i)\n",
			"\t\tif MUTANT {\n\t\t\te.Dead.Store(0)\n\t\t\tif ok, _ := oslock.TryLock(v.locks, format.LockProcess+int64(i), false); ok {\n\t\t\t\tdefer func() { _ = oslock.Unlock(v.locks, format.LockProcess+int64(i)) }()\n\t\t\t}\n\t\t}\n\t\tv.letGoOf(old)\n\t\toff := format.LockReap + int64(i)\n"}},
	},
	{
		Name: "fork-unnoticed", Finds: "a fork writes",
		What: "a fork does not know that it is one (Q2)",
		Changes: []Change{{"engine/fork.go",
			"{ return mapping.Forked(sp.process) }",
			"{ return !MUTANT && mapping.Forked(sp.process) }"}},
	},
	{
		Name: "fork-begins", Finds: "a fork writes",
		What: "a fork begins a transaction, out of the parent's lists (Q2)",
		Changes: []Change{{"engine/turn.go",
			"\tif sp.Forked() {\n\t\treturn ErrForked\n\t}\n\tif sp.readOnly {\n",
			"\tif !MUTANT && sp.Forked() {\n\t\treturn ErrForked\n\t}\n\tif sp.readOnly {\n"}},
	},
	{
		Name: "fork-views", Finds: "a fork reads",
		What: "a fork begins a view, in a slot of the parent's (Q2)",
		Changes: []Change{{"engine/tx.go",
			"\tif sp.Forked() {\n\t\treturn ErrForked\n\t}\n\tif !sp.live.HoldUnless(",
			"\tif !MUTANT && sp.Forked() {\n\t\treturn ErrForked\n\t}\n\tif !sp.live.HoldUnless("},
			{"engine/tx.go",
				"\t} else if !tx.sp.Forked() {\n\t\ttx.sp.live.TryRelease(&tx.hold)\n",
				"\t} else if explored.Mutant(\"fork-views\") || explored.Mutant(\"fork-ends-view\") || !tx.sp.Forked() {\n\t\ttx.sp.live.TryRelease(&tx.hold)\n"}},
	},
	{
		Name: "fork-ends-view", Finds: "a fork in a view",
		What: "a fork empties the slot of a view that the parent has begun (Q2)",
		Changes: []Change{{"engine/tx.go",
			"\tif tx.hold.Held() && !sp.Forked() {\n",
			"\tif tx.hold.Held() && (MUTANT || !sp.Forked()) {\n"}},
	},
	{
		Name: "fork-commits", Finds: "a fork in a transaction",
		What: "a fork commits a transaction that the parent has begun (Q2)",
		Changes: []Change{{"engine/tx.go",
			"\tif sp.Forked() {\n\t\treturn ErrForked\n\t}\n\tc.version",
			"\tif !MUTANT && sp.Forked() {\n\t\treturn ErrForked\n\t}\n\tc.version"}},
	},
	{
		Name: "fork-aborts", Finds: "a fork in a transaction",
		What: "a fork gives back what a transaction has that the parent has begun (Q2)",
		Changes: []Change{{"engine/tx.go",
			"\tif sp.Forked() {\n\t\treturn // all that",
			"\tif !MUTANT && sp.Forked() {\n\t\treturn // all that"}},
	},
	{
		Name: "fork-enters", Finds: "a fork syncs",
		Near: []string{"commit.", "journal."},
		What: "a fork writes the journal, with the parent's writer (Q2)",
		Changes: []Change{{"engine/tx.go",
			"\tif sp.Forked() {\n\t\treturn ErrForked\n\t}\n\tsp.views.Add(1)\n",
			"\tif !MUTANT && sp.Forked() {\n\t\treturn ErrForked\n\t}\n\tsp.views.Add(1)\n"}},
	},
	{
		Name: "fork-closes", Finds: "a fork closes",
		What: "a fork ends the membership of the parent (Q2)",
		Changes: []Change{{"engine/opened.go",
			"\tif sp.Forked() {\n",
			"\tif !MUTANT && sp.Forked() {\n"}},
	},
	{
		Name: "fork-ticks", Finds: "a fork in the background",
		What: "the background of the parent goes on in a fork (Q2)",
		Changes: []Change{{"engine/background.go",
			"\tif b.sp.Forked() {",
			"\tif !MUTANT && b.sp.Forked() {"}},
	},
	{
		Name: "fork-flushes", Finds: "a fork in the background",
		Near: []string{"commit.", "journal."},
		What: "the background of the parent writes the journal in a fork (Q2)",
		Changes: []Change{{"engine/journal.go",
			"\tif sp.Forked() {",
			"\tif !MUTANT && sp.Forked() {"}},
	},
}
