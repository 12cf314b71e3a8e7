//go:build !linux

package disk

import "os"

// syncData is the strongest that the platform has: F_FULLFSYNC on darwin, FlushFileBuffers on windows.
func syncData(f *os.File) error { return f.Sync() }
