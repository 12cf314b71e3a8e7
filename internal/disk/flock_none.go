//go:build solaris || illumos || aix

package disk

import "os"

// flock refuses: without it two processes could use one directory, and nobody would know.
func flock(*os.File, bool) error { return errNoFlock }

func unflock(*os.File) error { return nil }
