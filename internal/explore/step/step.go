// Package step is what the instrumented sources of the library call, in an exploration
// of interleavings: see package explore, which rewrites the sources and drives them. No
// other build imports it.
//
// A step is everything that a thread does from one call of these functions to the next
// one. An access stands before the atomic operation or the system call that it is named
// for, so that others can be let run right before it.
package step

import (
	"context"
	"time"
)

// Kind says what follows a step.
type Kind uint8

// The kinds.
const (
	Read  Kind = iota // of a shared word
	Write             // of a shared word, or both
	File              // a lock of the system
	Point             // of package invariant
	Mutex             // of the process
)

// A Driver decides who goes on.
type Driver interface {
	// Step is called before a step of the kind, at a place of the sources. at is a
	// pointer to the word, or nil.
	Step(where string, kind Kind, at any)
	// Pause is called by a thread that waits for others, at most for a while.
	Pause(where string, d time.Duration)
	// Stopped reports whether some other process stands still.
	Stopped() bool
	// Forked reports whether the process is a fork of the one that opened the space.
	Forked() bool
	// Now is the time, which passes only while all wait.
	Now() time.Time
}

// Driven is the driver; nil: nobody's.
var Driven Driver

// MutantOn names the fix that is taken out; "": none.
var MutantOn string

// Mutant reports whether a fix is to be taken out.
func Mutant(name string) bool { return MutantOn == name }

// Small says that even a space that takes little is worth to be made smaller.
var Small bool

// AtMost is what a file may take without anything being done about it, or a multiple of what
// it needs.
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

// FutexWake is that of package oslock: who waits looks again anyway.
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

// Stopped stands for the question whether a process is stopped.
func Stopped(...any) bool { return Driven != nil && Driven.Stopped() }

// Forked stands for the question whether this process is a fork.
func Forked(uint64) bool { return Driven != nil && Driven.Forked() }

// Receive waits until something comes from a channel, or it is closed.
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
