//go:build linux

package oslock

// Waiting counts the waiters for locks in this process.
func Waiting() (n int) {
	sleepers.Lock()
	defer sleepers.Unlock()
	for _, q := range sleepers.queues {
		n += len(q)
	}
	return n
}

// Sleepers counts the locks for which this process has a sleeper.
func Sleepers() int {
	sleepers.Lock()
	defer sleepers.Unlock()
	return len(sleepers.queues)
}
