package wal

import (
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

// Most tests open thousands of small logs. A heap that is never touched lets the collector run every 64 MB, where it would every 4 MB.
func TestMain(m *testing.M) {
	heap := make([]byte, 32<<20)
	goleak.VerifyTestMain(m)
	runtime.KeepAlive(heap)
}
