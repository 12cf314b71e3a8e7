package paxos

import "flag"

// update is the one -update flag of this test binary. Tests of package paxos_test reach it with flag.Lookup.
var update = flag.Bool("update", false, "rewrite golden files")
