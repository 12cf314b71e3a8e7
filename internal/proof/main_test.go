package proof

import (
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the package if a test leaves a goroutine behind. A heap that is never touched lets the collector run every 128 MB: most
// tests leave garbage, and keep little.
func TestMain(m *testing.M) {
	heap := make([]byte, 64<<20)
	goleak.VerifyTestMain(m)
	runtime.KeepAlive(heap)
}
