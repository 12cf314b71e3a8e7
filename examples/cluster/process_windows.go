package main

import (
	"errors"
	"os"
)

// pause fails: no signal of windows stops a process.
func pause(*os.Process) error { return errors.New("windows can't pause a process") }

func resume(*os.Process) error { return errors.New("windows can't resume a process") }

// hangUps returns a channel that gets nothing: windows has no SIGHUP. Certificates are read anew when their files change.
func hangUps() (hangups <-chan os.Signal, stop func()) { return nil, func() {} }
