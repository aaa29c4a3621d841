package explore

import "slices"

// A Mutant is the library without one fix. Instrument makes its changes in the copies of the
// sources that are explored, under a condition that holds only if the mutant is chosen. The
// library itself is unchanged.
type Mutant struct {
	Name    string
	What    string // what goes wrong
	Finds   string // name of the scenario that finds it
	Changes []Change
	// Near has parts of the names of the steps before which a schedule deviates; nil: all
	// steps. It is for a mutant that needs more than one deviation, and would take hours to
	// find among all schedules with that many.
	Near []string
	// Soon replaces Near in the test of all packages, which has less time. nil: Near.
	Soon []string
	// Long says that finding it may take minutes: the test of all packages leaves it out.
	Long bool
}

// A Change replaces a text that occurs once in a file. MUTANT stands for the condition.
type Change struct{ File, Old, New string }

// Mutants has all mutants.
var Mutants = slices.Concat(mutants, journalMutants, movingMutants, forkMutants, lostMutants, lockMutants, expiringMutants, subscriberMutants)

// mutants has the mutants that are in no other file.
var mutants = []Mutant{
	{
		Name: "dropped-listed-late", Finds: "writers",
		Soon: []string{"commit."},
		What: "a transaction finds its unused blocks by reading its blocks after the swap (I9)",
		Changes: []Change{{"heap/txn.go",
			"\tfor _, b := range t.unused {\n",
			"\tif MUTANT {\n\t\tt.unused = t.unused[:0]\n\t\tfor _, a := range t.written {\n\t\t\tif hd := h.writable(a); t.dropped > 0 && hd.Kind() == format.KindNone {\n\t\t\t\tt.unused = append(t.unused, space{a, blockSize(hd)})\n\t\t\t}\n\t\t}\n\t}\n\tfor _, b := range t.unused {\n"}},
	},
	{
		Name: "spool-not-entered", Finds: "closing", Long: true,
		Soon: []string{"commit.", "journal."},
		What: "a committer writes the journal while it holds nothing that Close waits for (E8)",
		Changes: []Change{{"engine/tx.go",
			"\t\tsp.Stay() // before the turn is given",
			"\t\tif !MUTANT {\n\t\t\tsp.Stay()\n\t\t} else {\n\t\t\tdefer sp.Stay()\n\t\t} // before the turn is given"}},
	},
	{
		Name: "swap-ignores-base", Finds: "writers",
		Soon: []string{"commit."},
		What: "the swap of a commit succeeds even if another version was published since (I3, L3)",
		Changes: []Change{{"live/live.go",
			"if !v.words.Current.CompareAndSwap(uint64(base), uint64(next)) {\n",
			"if MUTANT {\n\t\tv.words.Current.Store(uint64(next))\n\t} else if !v.words.Current.CompareAndSwap(uint64(base), uint64(next)) {\n"}},
	},
	{
		Name: "base-not-held", Finds: "writers",
		Soon: []string{"slot.State.Store", "commit."},
		What: "a writer releases its base before the swap, so that a new state can get the same address (L3)",
		Changes: []Change{{"turn/publish.go",
			"\tinvariant.Point(\"commit.sealed\")\n",
			"\tif MUTANT {\n\t\tw.Live.Release(hold)\n\t\t*hold = w.Live.HoldCurrent()\n\t}\n\tinvariant.Point(\"commit.sealed\")\n"},
			{"turn/publish.go",
				"published = w.Live.Publish(hold.State, a)",
				"published = w.Live.Publish(base, a)"},
			{"turn/publish.go",
				"\tt.Free(hold.State)\n\tif ops",
				"\tbase := hold.State\n\tt.Free(hold.State)\n\tif ops"}},
	},
	{
		Name: "freed-before-swap", Finds: "writers",
		Soon: []string{"commit."},
		What: "the blocks that a transaction frees become pending even if its version was not published (I2)",
		Changes: []Change{{"turn/publish.go",
			"\tif !*published {\n\t\tt.Aborted()\n",
			"\tif !*published && MUTANT {\n\t\tt.Committed()\n\t\treturn nil\n\t}\n\tif !*published {\n\t\tt.Aborted()\n"}},
	},
	{
		Name: "slots-before-current", Finds: "readers",
		Soon: []string{"look again", "begin.slot"},
		What: "a process reclaims blocks that the current version has freed, by a scan of the slots from before it was current (I2, L4)",
		Changes: []Change{{"heap/reclaim.go",
			"\th.live.Protected(&h.prot, h)\n",
			"\tif before := slices.Clone(h.prot.Versions); MUTANT && len(before) > 0 {\n\t\th.live.Protected(&h.prot, h)\n\t\th.prot.Versions = before\n\t} else {\n\t\th.live.Protected(&h.prot, h)\n\t}\n"}},
	},
	{
		Name: "reader-not-validated", Finds: "readers",
		What: "a reader does not verify that the version which it has claimed is still current (L4)",
		Changes: []Change{{"live/slots.go",
			"\t\tif v.words.Current.Load() == state {",
			"\t\tif MUTANT || v.words.Current.Load() == state {"}},
	},
	{
		Name: "lists-kept", Finds: "sweep",
		What: "a process keeps using its lists although a sweep has begun (I7)",
		Changes: []Change{{"heap/heap.go",
			"if epoch := h.live.Words().Epoch.Load(); epoch != h.epoch {\n",
			"if epoch := h.live.Words().Epoch.Load(); epoch != h.epoch && MUTANT {\n\t\th.epoch = epoch\n\t} else if epoch != h.epoch {\n"}},
	},
	{
		Name: "epoch-before-active", Finds: "sweep",
		Soon: []string{"Epoch.", "Active"},
		What: "a process reads the epoch before it announces that it uses its lists (I7)",
		Changes: []Change{{"heap/heap.go",
			"\th.live.Entry().Active.Store(1)\n\tif epoch",
			"\tif MUTANT {\n\t\tif epoch := h.live.Words().Epoch.Load(); epoch != h.epoch {\n\t\t\th.forget(epoch)\n\t\t}\n\t\th.live.Entry().Active.Store(1)\n\t\treturn\n\t}\n\th.live.Entry().Active.Store(1)\n\tif epoch"}},
	},
	{
		Name: "sweep-with-active", Finds: "sweep",
		Near: []string{"e.Active.Load", "sweep.", "begin.", "commit."},
		Soon: []string{"w.Epoch.Add", "commit.swap"},
		What: "a sweep continues although a process uses its lists (I7)",
		Changes: []Change{{"heap/sweep.go",
			"\tinvariant.Point(\"sweep.emptied\")\n",
			"\tinvariant.Point(\"sweep.emptied\")\n\tif MUTANT {\n\t\tothersActive = func() bool { return false }\n\t}\n"}},
	},
	{
		Name: "take-ignores-epoch", Finds: "sweeps",
		Near: []string{"sweep.", "commit."},
		What: "a sweeper takes what it has found although another sweep has begun (I7)",
		Changes: []Change{{"heap/sweep.go",
			"\tif h.epoch != epoch || h.live.Words().Epoch.Load() != epoch {\n",
			"\tif !MUTANT && (h.epoch != epoch || h.live.Words().Epoch.Load() != epoch) {\n"}},
	},
	{
		Name: "taken-twice", Finds: "batches",
		Near: []string{"live/stacks.go", "batch."},
		What: "the batches of a stack are taken by a load and a store (stacks.go)",
		Changes: []Change{{"live/stacks.go",
			"\t\tif headOffset(h) == 0 || head.CompareAndSwap(h, h&^headAddrMask) {\n",
			"\t\tif MUTANT {\n\t\t\thead.Store(h &^ headAddrMask)\n\t\t\treturn headOffset(h), true\n\t\t}\n\t\tif headOffset(h) == 0 || head.CompareAndSwap(h, h&^headAddrMask) {\n"}},
	},
	{
		Name: "claim-protects-nothing", Finds: "an anchor",
		Soon: []string{"anchor."},
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
		Soon: []string{"anchor."},
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
		What: "the versions that a checkpoint pins are not protected (I2, C1)",
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
		What: "a scan for the protected versions that gets no slot reads a state whose block may have been reused (L12)",
		Changes: []Change{{"live/slots.go",
			"\t\tcurrent = v.validate(v.slots.scan.slot)\n",
			"\t\tif !MUTANT {\n\t\t\tcurrent = v.validate(v.slots.scan.slot)\n\t\t} else if i := v.takeSlot(); i >= 0 {\n\t\t\tcurrent = v.fillSlot(i)\n\t\t\tdefer v.leaveSlot(i)\n\t\t\tdefer v.slots.local[i].words.State.Store(0)\n\t\t} else {\n\t\t\tcurrent = v.Current()\n\t\t}\n\t\tinvariant.Point(\"scan.unheld\")\n"},
			{"live/slots.go",
				"\t\"github.com/everheap/everheap/internal/format\"\n",
				"\t\"github.com/everheap/everheap/internal/format\"\n\t\"github.com/everheap/everheap/internal/invariant\"\n"}},
	},
	{
		Name: "gives-up-for-good", Finds: "giving up",
		Near: []string{"Epoch."},
		What: "no sweep is due after a sweep that gave up when other processes had forgotten their lists (I4)",
		Changes: []Change{{"upkeep/sweep.go",
			"\t\t\tu.Live.Release(&hold)\n\t\t\tw.SweepWish.Store(1)\n",
			"\t\t\tu.Live.Release(&hold)\n\t\t\tif !MUTANT {\n\t\t\t\tw.SweepWish.Store(1)\n\t\t\t}\n"}},
	},
	{
		Name: "dead-sweeper-unknown", Finds: "giving up",
		Near: []string{"sweep.", "Active"},
		Soon: []string{"Active.Store"},
		What: "no sweep is due after a sweep whose process died, and had written nothing else (I4)",
		Changes: []Change{{"upkeep/sweep.go",
			"\tu.Live.Entry().Heartbeat.Add(1) //",
			"\tif !MUTANT {\n\t\tu.Live.Entry().Heartbeat.Add(1)\n\t} //"}},
	},
	{
		Name: "punched-unsynced", Finds: "punching",
		What: "the space of holes is given back before the marks are on disk (I8)",
		Changes: []Change{{"upkeep/punch.go",
			"\tif err := u.durable.WriteAnchor(nil, true); err != nil { // this syncs",
			"\tmarksToDisk := func() error { return u.durable.WriteAnchor(nil, true) }\n\tif MUTANT {\n\t\tmarksToDisk = func() error { return nil }\n\t}\n\tif err := marksToDisk(); err != nil { // this syncs"}},
	},
	{
		Name: "punched-when-taken", Finds: "punching",
		What: "the space of a marked hole is given back although a process has taken the hole since (I8)",
		Changes: []Change{{"heap/holes.go",
			"\t\t\th.holes.add(r.extent, r.n)\n\t\t\tif inv",
			"\t\t\th.holes.add(r.extent, r.n)\n\t\t\tif MUTANT {\n\t\t\t\th.aside.add(r.extent, r.n)\n\t\t\t}\n\t\t\tif inv"},
			{"heap/holes.go",
				"\th.adoptAll(format.StackExtents)\n\tfor _, r := range h.holes.cut(",
				"\tif explored.Mutant(\"punched-when-taken\") {\n\t\treturn\n\t}\n\th.adoptAll(format.StackExtents)\n\tfor _, r := range h.holes.cut("}},
	},
	{
		Name: "hole-used", Finds: "punching",
		What: "a hole is used without its space (I8)",
		Changes: []Change{{"heap/holes.go",
			"\tif err := h.region.Allocate(",
			"\tif err := error(nil); MUTANT {\n\t} else if err = h.region.Allocate("}},
	},
	{
		Name: "hole-unmarked-early", Finds: "punching",
		Near: []string{"hole.", "punch."},
		What: "the mark of a hole is removed before the hole has its space (I8)",
		Changes: []Change{{"heap/holes.go",
			"\tif err := h.uncut(); err != nil {\n",
			"\tif MUTANT {\n\t\tfor i := range n {\n\t\t\th.setExtentClass(extent+i, format.ClassFree)\n\t\t}\n\t\tinvariant.Point(\"hole.unmarked\")\n\t}\n\tif err := h.uncut(); err != nil {\n"}},
	},
	{
		Name: "punched-by-another", Finds: "compactors",
		Near: []string{"punch.", "anchor.claimed"},
		What: "a process that is no longer the sweeper punches holes (I8)",
		Changes: []Change{{"upkeep/sweep.go",
			"\t\tif is = u.Live.Words().Sweeper.Load() ==",
			"\t\tif is = MUTANT || u.Live.Words().Sweeper.Load() =="}},
	},
	{
		Name: "reaper-keeps-alive", Finds: "reaping",
		What: "a dead process counts as alive while another process cleans up after it (L2, L11)",
		Changes: []Change{{"live/process.go",
			"\tv.letGoOf(d)\n",
			"\tfor _, i := range d.entries {\n\t\tif MUTANT {\n\t\t\tv.words.Processes[i].Dead.Store(0)\n\t\t\tif ok, _ := oslock.TryLock(v.locks, format.LockProcess+int64(i), false); ok {\n\t\t\t\tdefer func() { _ = oslock.Unlock(v.locks, format.LockProcess+int64(i)) }()\n\t\t\t}\n\t\t}\n\t}\n\tv.letGoOf(d)\n"}},
	},
}
