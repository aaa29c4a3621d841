package oslock

import "golang.org/x/sys/unix"

// ProcessGone reports whether no process has that number in the PID namespace of the caller,
// or only a zombie has it: a process without threads, memory and open files. False proves
// nothing: another process may have the number by now, or the kernel may refuse to tell.
//
// A pidfd becomes readable when the last thread of its process has ended. If the kernel
// reused the number before ProcessGone opened the pidfd, the process that had the number
// before is gone as well.
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
