package oslock

import "golang.org/x/sys/unix"

// ProcessGone reports whether there is no process of that number, in the PID namespace
// of the caller, or one of which nothing is left but its status: no thread, memory or
// open file. False means nothing: the number may be another process's by now, or the
// kernel may not tell.
//
// A descriptor of a process becomes readable when its last thread has ended. If the
// number was passed on before it was opened, its first process is gone all the
// more.
func ProcessGone(pid int) bool {
	if pid <= 0 {
		return false
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err == unix.ESRCH
	}
	defer unix.Close(fd)
	for {
		set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(set, 0)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n == 1 && set[0].Revents&unix.POLLIN != 0
	}
}
