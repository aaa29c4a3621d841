// Package plan says what an OO7 database is made of, and what the operations of the
// benchmark are: the parameters, a Plan drawn from a seed, of which each
// implementation builds the same database, and the interface Database.
//
// OO7 is the benchmark of object databases of Carey, DeWitt and Naughton ("The OO7
// Benchmark", SIGMOD 1993). A module has a manual and a tree of assemblies; the leaves,
// base assemblies, use composite parts; a composite part has a document and a graph of
// atomic parts, between which connections are objects of their own.
//
// Start reading at Plan and Database.
package plan

// Params are the parameters of a database, by the names of the paper without "Num".
type Params struct {
	AtomicPerComp, ConnPerAtomic int
	CompPerModule                int
	AssmPerAssm, AssmLevels      int
	CompPerAssm                  int // composite parts that a base assembly uses
	DocumentSize, ManualSize     int // bytes
	Seed                         uint64
}

// Small returns the parameters of the small database with 3, 6 or 9 connections an
// atomic part.
func Small(connections int) Params {
	return Params{
		AtomicPerComp: 20, ConnPerAtomic: connections, CompPerModule: 500,
		AssmPerAssm: 3, AssmLevels: 7, CompPerAssm: 3,
		DocumentSize: 2000, ManualSize: 100_000, Seed: 1,
	}
}

// Medium is Small with larger composite parts and texts.
func Medium(connections int) Params {
	p := Small(connections)
	p.AtomicPerComp, p.DocumentSize, p.ManualSize = 200, 20_000, 1_000_000
	return p
}

// Constants of the paper that do not differ between its databases.
const (
	types          = 10      // "type000" to "type009"
	coordinates    = 100_000 // x and y
	MinDate        = 1000    // of atomic parts and assemblies
	MaxDate        = 1999
	youngOf        = 10 // one composite part in so many is younger than any assembly
	newComposites  = 5
	newUses        = 10
	lookups        = 10
	documentTitles = 100
)
