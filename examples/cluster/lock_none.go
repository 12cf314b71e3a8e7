//go:build !windows && (!unix || solaris || illumos || aix)

package main

import (
	"errors"
	"io"
)

// lockDir refuses: without flock two clusters could use one directory, and neither would know.
func lockDir(string) (io.Closer, error) { return nil, errors.New("this platform has no flock") }
