//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// pause stops a process where it is, until resume. Its threads stop when the kernel runs them next, which may be later than the signal. So
// where the system tells the state of threads, pause waits until all have stopped, or for a second.
func pause(p *os.Process) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for began := time.Now(); !hasStopped(p.Pid) && time.Since(began) < time.Second; {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// hasStopped reports whether no thread of the process runs any more. It is true where there is no /proc.
func hasStopped(pid int) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, file := range files {
		text, err := os.ReadFile(file)
		// The state is behind the name of the program, which is in brackets.
		if at := bytes.LastIndexByte(text, ')'); err == nil && at > 0 && !bytes.HasPrefix(text[at:], []byte(") T")) {
			return false
		}
	}
	return true
}

func resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }

// hangUps returns a channel of the signals by which an operator makes a server read its certificates anew.
func hangUps() (hangups <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}
