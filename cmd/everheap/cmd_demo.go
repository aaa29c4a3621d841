package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/everheap/everheap/cmd/everheap/internal/demo"
)

// demoCmd shows what a space is.
type demoCmd struct {
	Dir   string        `help:"Directory in which the demo makes one of its own; by default that of temporary files." type:"existingdir" placeholder:"DIR"`
	Frobs int           `hidden:"" default:"200000"`
	Phase time.Duration `hidden:"" default:"1500ms"`
	Kills int           `hidden:"" default:"5"`
}

// exitInterrupted is the exit code that shells give to what SIGINT ended.
const exitInterrupted = 130

// Run implements the verb.
func (c *demoCmd) Run(ctx context.Context, std *streams) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	_, plain := os.LookupEnv("NO_COLOR")
	err := demo.Run(ctx, demo.Options{Out: std.out, Frobs: c.Frobs, Phase: c.Phase, Kills: c.Kills, Dir: c.Dir,
		Color: !plain && os.Getenv("TERM") != "dumb" && isTerminal(std.out)})
	if err != nil && ctx.Err() != nil {
		return &exitError{exitInterrupted, err}
	}
	return err
}

// workerCmd is a process that the demo starts.
type workerCmd struct {
	Role string   `arg:""`
	Dir  string   `arg:""`
	N    int      `arg:""`
	Args []string `arg:"" optional:""`
}

// Run implements the verb.
func (c *workerCmd) Run(std *streams) error {
	return demo.Work(c.Role, c.Dir, c.N, c.Args, std.in, std.out)
}
