package tcp

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestMain fails the package if a test leaves a goroutine behind. In a child process it is a client instead: see crowd.
func TestMain(m *testing.M) {
	if addr := os.Getenv(crowdAddr); addr != "" {
		crowd(addr)
		return
	}
	goleak.VerifyTestMain(m)
}
