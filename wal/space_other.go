//go:build !unix

package wal

import (
	"errors"
	"syscall"
)

// isQuota reports whether err says on windows that there is no room: ERROR_HANDLE_DISK_FULL or ERROR_DISK_FULL.
func isQuota(err error) bool {
	return errors.Is(err, syscall.Errno(39)) || errors.Is(err, syscall.Errno(112))
}
