//go:build solaris || illumos || aix

package disk

import (
	"errors"
	"os"
)

// flock refuses: without it two processes could use one directory, and nobody would know.
func flock(*os.File, bool) error { return errors.New("this platform has no flock") }
