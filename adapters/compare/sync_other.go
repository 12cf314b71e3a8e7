//go:build !linux

package compare

import "os"

func datasync(f *os.File) error { return f.Sync() }
