// Package step has the functions that the instrumented sources of the library call in an
// exploration. Package explore rewrites the sources and drives them; no other build imports
// package step.
//
// A step is everything that a thread does from one call of these functions to the next one.
// The call stands right before the atomic operation or the system call, so that the driver
// can let other threads run before that.
package step

import (
	"context"
	"time"
)

// Kind says which kind of access follows a call.
type Kind uint8

// The kinds.
const (
	Read  Kind = iota // a read of a shared word
	Write             // a write of a shared word, or both
	File              // a lock of the system
	Point             // a point of package invariant
	Mutex             // a mutex of the process
)

// A Driver decides which thread runs.
type Driver interface {
	// Step is called before an access of the kind, at a place in the sources. at is a
	// pointer to the word, or nil.
	Step(where string, kind Kind, at any)
	// Pause is called by a thread that waits for other threads, for at most d.
	Pause(where string, d time.Duration)
	// Stopped reports whether any other process stands still.
	Stopped() bool
	// Forked reports whether the process is a fork of the process that opened the space.
	Forked() bool
	// Now returns the time, which passes only while all threads wait.
	Now() time.Time
}

// Driven is the driver; nil: none.
var Driven Driver

// MutantOn names the mutant that runs; "": none.
var MutantOn string

// Mutant reports whether a mutant runs.
func Mutant(name string) bool { return MutantOn == name }

// Small says that even a small space is worth making smaller.
var Small bool

// AtMost returns the bound n, below which a file is not worth making smaller; 0 if Small is
// set.
func AtMost(n uint64) uint64 {
	if Small {
		return 0
	}
	return n
}

// At announces an operation on the word at p.
func At[T any](p *T, kind Kind, where string) *T {
	if Driven != nil {
		Driven.Step(where, kind, p)
	}
	return p
}

// Then announces an operation whose last argument is v.
func Then[T any](v T, kind Kind, where string) T {
	if Driven != nil {
		Driven.Step(where, kind, nil)
	}
	return v
}

// Call announces a system call.
func Call[T any](fn T, where string) T {
	if Driven != nil {
		Driven.Step(where, File, nil)
	}
	return fn
}

// Passed announces a point of package invariant.
func Passed(name string) {
	if Driven != nil {
		Driven.Step(name, Point, nil)
	}
}

// Lock takes a mutex of the process by trying.
func Lock(try func() bool, where string) {
	if Driven != nil {
		Driven.Step(where, Mutex, nil)
	}
	for !try() {
		Wait(where, time.Millisecond)
	}
}

// Wait waits for others.
func Wait(where string, d time.Duration) {
	if Driven != nil {
		Driven.Pause(where, d)
	} else {
		time.Sleep(min(d, time.Millisecond))
	}
}

// FutexWait is that of package oslock.
func FutexWait(addr *uint32, _ uint32, d time.Duration) (woken bool) {
	Wait("futex", d)
	return false
}

// FutexWake is that of package oslock. It does nothing: a waiter looks again anyway.
func FutexWake(*uint32, int) int { return 0 }

// Yield is that of package oslock, and Gosched that of package runtime.
func Yield() { Wait("yield", time.Microsecond) }

// Now is time.Now.
func Now() time.Time {
	if Driven != nil {
		return Driven.Now()
	}
	return time.Now()
}

// Since is time.Since.
func Since(t time.Time) time.Duration { return Now().Sub(t) }

// Until is time.Until.
func Until(t time.Time) time.Duration { return t.Sub(Now()) }

// Stopped replaces functions that report whether a process is stopped.
func Stopped(...any) bool { return Driven != nil && Driven.Stopped() }

// Forked replaces functions that report whether this process is a fork.
func Forked(uint64) bool { return Driven != nil && Driven.Forked() }

// Receive waits for a value from a channel, or until it is closed.
func Receive[T any](c <-chan T, where string) (v T) {
	for {
		select {
		case v = <-c:
			return v
		default:
			Wait(where, time.Millisecond)
		}
	}
}

// Sleep is time.Sleep.
func Sleep(d time.Duration) { Wait("sleep", d) }

// After is time.After: the time has passed when it returns.
func After(d time.Duration) <-chan time.Time {
	Wait("after", d)
	c := make(chan time.Time, 1)
	c <- Now()
	return c
}

// WithTimeout is context.WithTimeout in the driver's time.
func WithTimeout(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithCancel(parent)
	return &timed{inner, Now().Add(d)}, cancel
}

// timed is a context that ends at a time of the driver.
type timed struct {
	context.Context
	end time.Time
}

// Err implements context.Context.
func (t *timed) Err() error {
	if err := t.Context.Err(); err != nil {
		return err
	}
	if !Now().Before(t.end) {
		return context.DeadlineExceeded
	}
	return nil
}

// Deadline implements context.Context.
func (t *timed) Deadline() (time.Time, bool) { return t.end, true }
