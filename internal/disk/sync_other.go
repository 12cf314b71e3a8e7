//go:build !linux

package disk

import "os"

// syncData is the strongest that the platform has: F_FULLFSYNC on darwin, FlushFileBuffers on windows.
func syncData(f *os.File) error { return f.Sync() }

// startData is syncData: nothing less is known here.
func startData(f *os.File, _, _ int64) error { return syncData(f) }
