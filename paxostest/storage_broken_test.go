package paxostest

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// The suite itself is tested with storages that break one rule each: the rule must see it. storage_sabotage_test.go lists them.

// A failedRule is a storageReporter that keeps what a rule has found.
type failedRule struct {
	*testing.T
	message  string
	cleanups []func()
}

func (r *failedRule) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *failedRule) Fatalf(format string, args ...any) {
	r.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// broken checks a rule on storages that open opens, and returns the message with which it fails; empty: it holds.
func broken(t *testing.T, rule storageRule, timeLimit time.Duration, open func(dir string) paxos.Storage) string {
	r := &failedRule{T: t}
	var done sync.WaitGroup
	done.Go(func() {
		defer func() {
			for _, f := range slices.Backward(r.cleanups) {
				f()
			}
		}()
		rule.check(&storageKit{storageReporter: r, open: open, short: true, timeLimit: timeLimit})
	})
	done.Wait()
	return r.message
}

func TestEachStorageRuleSeesWhatBreaksIt(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range sabotages {
		t.Run(b.name, func(t *testing.T) {
			i := slices.IndexFunc(storageRules(), func(r storageRule) bool { return r.name == b.rule })
			require.GreaterOrEqual(t, i, 0, "there is no rule %q", b.rule)
			seen[b.rule] = true
			disk, one := memoryDisk{}, t.TempDir()
			timeLimit := time.Minute
			if b.hangs {
				timeLimit = 10 * time.Millisecond
			}
			got := broken(t, storageRules()[i], timeLimit, func(dir string) paxos.Storage {
				if b.oneDisk {
					dir = one
				}
				saved := disk.at(dir)
				if b.reopen != nil {
					b.reopen(saved)
				}
				s := closingStorage{saved.storage()}
				if b.wrap == nil {
					return s
				}
				return b.wrap(s)
			})
			if got == "" {
				t.Fatalf("%q holds", b.rule)
			}
			assert.Contains(t, got, b.want)
			assert.Less(t, len(got), 1000, "a message is to be read")
		})
	}
	for _, r := range storageRules() {
		assert.True(t, seen[r.name], "%q was never seen to fail", r.name)
	}
}

// The storage that the sabotages stand on breaks no rule.
func TestStorageRulesHoldOnTheirOwn(t *testing.T) {
	disk := memoryDisk{}
	names := map[string]bool{}
	for _, r := range storageRules() {
		require.False(t, names[r.name], "%q twice", r.name)
		names[r.name] = true
		assert.Empty(t, broken(t, r, time.Minute, func(dir string) paxos.Storage { return closingStorage{disk.open(dir)} }), r.name)
	}
}

func TestStorageThatIsNil(t *testing.T) {
	for _, r := range storageRules() {
		assert.Equal(t, "open returned nil", broken(t, r, time.Minute, func(string) paxos.Storage { return nil }))
	}
}

// A Close that fails is told.
func TestStorageWhoseCloseFails(t *testing.T) {
	disk := memoryDisk{}
	rule := storageRule{"closes", func(k *storageKit) { k.fresh().reopened() }}
	got := broken(t, rule, time.Minute, func(dir string) paxos.Storage {
		return struct {
			paxos.Storage
			io.Closer
		}{disk.open(dir), closerFunc(func() error { return errDiskClosed })}
	})
	assert.Equal(t, "Close: closed", got)
}

type closerFunc func() error

func (f closerFunc) Close() error { return f() }

func TestStorageWords(t *testing.T) {
	assert.Equal(t, `"`+strings.Repeat("v", 40)+`"… (41 bytes)`, short(strings.Repeat("v", 41)))
	assert.Equal(t, "the zero Record", describe(paxos.Record{}))
	assert.Equal(t, `{"lunch": promised 2.3, accepted 2.3 "v", chosen, index 7}`, describe(decidedRecord("lunch", 2, "v", 7)))
	for n, want := range map[int]string{1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 10: "10th", 11: "11th", 12: "12th", 13: "13th",
		21: "21st", 111: "111th"} {
		assert.Equal(t, want, nth(n))
	}
}
