//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// pause stops a process where it is, until resume.
func pause(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

func resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }

// hangUps returns a channel of the signals by which an operator makes a server read its certificates anew.
func hangUps() (hangups <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}
