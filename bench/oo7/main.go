// Command oo7 runs the OO7 benchmark of object databases in one process, in turns, with
// ordinary Go pointers, in Everheap with two schemas, and in bbolt, and prints one table:
//
//	go run . -size small -conn 3
//
// Every count is compared with what the plan of the database says.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/everheap/everheap/bench/oo7/plan"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "oo7:", err)
		os.Exit(1)
	}
}

func run() error {
	size := flag.String("size", "small", "of the database: small or medium")
	connections := flag.Int("conn", 3, "connections of each atomic part: 3, 6 or 9")
	seed := flag.Uint64("seed", 1, "of the database")
	budget := flag.Duration("time", time.Second, "for which each operation is repeated, in each implementation")
	dir := flag.String("dir", os.TempDir(), "where the databases are made, in a directory that is removed afterwards")
	only := flag.String("run", "", "the name of the only operation to run")
	flag.Parse()
	var params plan.Params
	switch *size {
	case "small":
		params = plan.Small(*connections)
	case "medium":
		params = plan.Medium(*connections)
	default:
		return fmt.Errorf("-size %s: the sizes are small and medium", *size)
	}
	if *connections < 1 || *connections > params.AtomicPerComp {
		return fmt.Errorf("-conn %d: there are 1 to %d connections", *connections, params.AtomicPerComp)
	}
	params.Seed = *seed
	scratch, err := os.MkdirTemp(*dir, "everheap-oo7-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	stop := make(chan os.Signal, 1) // the directory is removed also if the run is interrupted
	signal.Notify(stop, os.Interrupt)
	go func() {
		<-stop
		os.RemoveAll(scratch)
		os.Exit(1)
	}()
	m := &measurement{plan: plan.Draw(params), budget: *budget, only: *only}
	fmt.Printf("OO7, %s database, %d connections, seed %d; times in µs\n", *size, *connections, *seed)
	return m.run(os.Stdout, scratch)
}
