// Command peers measures Everheap and alternative stores with the same work, and writes a report and
// charts:
//
//	go run . quick     # less than five minutes
//	go run . full      # hours: a million entries, more rounds, waits until the machine is quiet
//	go run . report -o ../../BENCHMARKS.md
//	go run . chart
//
// Package engines has the stores, work the workloads, measure the records, and report the tables and
// charts. Start reading at session.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/everheap/everheap/bench/peers/engines"
	"github.com/everheap/everheap/bench/peers/work"
)

// cli is the command line.
type cli struct {
	Quick  quickCmd  `cmd:"" help:"Measure in a few minutes: 100,000 entries, three rounds."`
	Full   fullCmd   `cmd:"" help:"Measure in hours: a million entries, five rounds, waiting for a quiet machine."`
	Report reportCmd `cmd:"" help:"Write the report, as Markdown, of what was measured."`
	Chart  chartCmd  `cmd:"" help:"Draw the charts, as SVG, of what was measured."`
	List   listCmd   `cmd:"" help:"List the engines and the workloads."`
	Worker workerCmd `cmd:"" hidden:""`
}

func main() {
	work.Child() // does not return in a child
	var c cli
	ctx := kong.Parse(&c, kong.Name("peers"), kong.UsageOnError(),
		kong.Description("Compare Everheap with the stores that one would use instead."))
	ctx.FatalIfErrorf(ctx.Run())
}

// listCmd lists engines and workloads.
type listCmd struct{}

// Run prints the engines and the workloads.
func (listCmd) Run() error {
	for _, name := range engines.Names() {
		info := engines.New(name).Info()
		fmt.Printf("%-17s %s: %s\n", name, info.Version, info.Notes)
	}
	if missing := engines.Missing(); len(missing) > 0 {
		fmt.Println("\nnot there:", strings.Join(missing, ", "))
	}
	fmt.Println()
	for _, w := range work.Workloads {
		fmt.Printf("%-17s %s\n", w.Name, w.What)
	}
	return nil
}

// onInterrupt calls fn and ends the process if it is interrupted.
func onInterrupt(fn func()) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	go func() {
		<-stop
		fn()
		os.Exit(1)
	}()
}
