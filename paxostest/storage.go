package paxostest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/singledecree/paxos"
)

// TestStorage checks that a [paxos.Storage] keeps its promises: one subtest for each rule, named after it.
//
// open opens the storage in dir. At first dir is empty: there open creates the storage. It also formats it if this kind of storage is
// formatted on creation. Later dir holds a storage. open ends the test if it fails. For package mydisk it reads
//
//	func TestStorage(t *testing.T) {
//		paxostest.TestStorage(t, func(t *testing.T, dir string) paxos.Storage {
//			s, err := mydisk.Open(filepath.Join(dir, "paxos.db"))
//			if err != nil {
//				t.Fatal(err)
//			}
//			return s
//		})
//	}
//
// If Server returns the zero ServerState, the storage was never formatted: the suite calls [paxos.Format]. Any other storage is taken as
// it is, and must hold no records.
//
// If the storage is an io.Closer, the suite closes it before it opens dir again, and at the end of the subtest. So open must not close it.
//
// The storage must keep everything in dir, since a crash without Close is a copy of dir, with its regular files and directories. The
// suite makes the copy while no call runs and the files do not change, and opens it beside the original. So it finds data that only Close
// writes. It does not find data that was written and not synced: that takes a file system that forgets.
//
// A storage may be a [paxos.PromptStorage], an [paxos.InstantStorage] or an [paxos.ExpectingStorage]. Then it keeps the rules of that,
// too. The suite does not measure speed.
//
// The storage holds about 10^5 instances and 32 MiB at most. With -short it is a tenth of that.
func TestStorage(t *testing.T, open func(t *testing.T, dir string) paxos.Storage) {
	if open == nil {
		t.Fatal("paxostest: TestStorage: open is nil")
	}
	for _, rule := range storageRules() {
		t.Run(rule.name, func(t *testing.T) {
			t.Helper()
			rule.check(&storageKit{
				storageReporter: t,
				open:            func(dir string) paxos.Storage { return open(t, dir) },
				short:           testing.Short(),
				timeLimit:       time.Minute,
			})
		})
	}
}

// A storageRule is one promise of a Storage, with the check for it.
type storageRule struct {
	name  string
	check func(k *storageKit)
}

// storageRules returns all rules that TestStorage checks. The rules are data, so that a test can run each of them on a Storage that
// breaks it.
func storageRules() []storageRule {
	var all []storageRule
	for _, rules := range [][]storageRule{storageRecordRules, storageListRules, storageDropRules, storageServerRules, storageLifeRules,
		storageBesideRules, storagePromptRules} {
		all = append(all, rules...)
	}
	return all
}

// A storageReporter has the methods of a *testing.T that the rules need.
type storageReporter interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(f func())
	TempDir() string
}

// A storageKit is for checking one rule: a reporter, and storages in directories of their own.
type storageKit struct {
	storageReporter
	open      func(dir string) paxos.Storage
	short     bool
	timeLimit time.Duration // limit for calls that could otherwise wait for ever
}

// scaled returns n, or a tenth of it with -short.
func (k *storageKit) scaled(n int) int {
	if k.short {
		return n / 10
	}
	return n
}

// seeded returns a source of randomness that is the same in every run.
func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
