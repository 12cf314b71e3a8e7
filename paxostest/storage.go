package paxostest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/singledecree/paxos"
)

// TestStorage checks that a paxos.Storage keeps its promises: one subtest for each rule, named after it. open opens the
// storage that is kept in dir. It is called with an empty directory first, where it creates the storage, and formats it if
// its kind is formatted when it is created; later with a directory that holds one. open ends the test if it fails. For
// package mydisk it reads
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
// A storage that was never formatted, so that its Server returns the zero ServerState, is formatted with paxos.Format;
// another is taken as it is, and must hold no records.
//
// A storage that is an io.Closer is closed, before its directory is opened again and when its subtest ends; open does not
// close it. All must be in dir: a crash without Close is a copy of the directory, of its regular files and directories,
// which is taken when no call runs and the files keep still, and is opened beside the original. So the suite sees what
// Close alone would have written; it does not see what was written and not synced. That takes a file system that forgets.
//
// What it holds goes little beyond 10^5 instances and 32 MiB at a time. With -short it is a tenth of that.
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
				patience:        time.Minute,
			})
		})
	}
}

// A storageRule is one thing that a Storage promises, and what finds out whether it does.
type storageRule struct {
	name  string
	check func(k *storageKit)
}

// storageRules returns all that TestStorage checks. The rules are data, so that a test can show each of them a Storage that
// breaks it.
func storageRules() []storageRule {
	var all []storageRule
	for _, rules := range [][]storageRule{storageRecordRules, storageListRules, storageDropRules, storageServerRules, storageLifeRules,
		storageBesideRules, storagePromptRules} {
		all = append(all, rules...)
	}
	return all
}

// A storageReporter is what the rules need of a *testing.T.
type storageReporter interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(f func())
	TempDir() string
}

// A storageKit is what a rule is checked with: a reporter, and storages in directories of their own.
type storageKit struct {
	storageReporter
	open     func(dir string) paxos.Storage
	short    bool
	patience time.Duration // for what would otherwise wait for ever
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
