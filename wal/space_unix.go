//go:build unix

package wal

import (
	"errors"
	"syscall"
)

// isQuota reports whether err says that a quota is used up.
func isQuota(err error) bool { return errors.Is(err, syscall.EDQUOT) }
