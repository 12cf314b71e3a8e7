package paxos

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// update is the one -update flag of this test binary. Tests of package paxos_test reach it with flag.Lookup.
var update = flag.Bool("update", false, "rewrite golden files")

// TestMain fails the package if a test leaves a goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
