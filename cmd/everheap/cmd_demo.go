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
	Dir   string        `help:"Directory in which the demo creates its own; by default that of temporary files." type:"existingdir" placeholder:"DIR"`
	Frobs int           `hidden:"" default:"200000"`
	Phase time.Duration `hidden:"" default:"1500ms"`
	Kills int           `hidden:"" default:"5"`
	// Patience is the allowed delay after a kill; a busy machine needs more.
	Patience time.Duration `hidden:"" default:"1s"`
}

// exitInterrupted is the exit code of a program that SIGINT has ended.
const exitInterrupted = 130

// Run implements the verb.
func (c *demoCmd) Run(ctx context.Context, std *streams) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	color := os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(std.out)
	err := demo.Run(ctx, demo.Options{Out: std.out, Frobs: c.Frobs, Phase: c.Phase, Kills: c.Kills, GoOn: c.Patience, Dir: c.Dir,
		Color: color})
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
