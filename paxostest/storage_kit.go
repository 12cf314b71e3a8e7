package paxostest

import (
	"cmp"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/singledecree/paxos"
)

// A testedStorage is a Storage under test, with what it must hold.
type testedStorage struct {
	paxos.Storage
	kit     *storageKit
	dir     string
	closed  bool
	state   paxos.ServerState
	records map[string]paxos.Record
}

// unformatted opens a storage in an empty directory, which was formatted only if open does that.
func (k *storageKit) unformatted() *testedStorage {
	k.Helper()
	return k.opened(k.TempDir(), nil)
}

// fresh opens a storage in an empty directory and sees to it that it is formatted.
func (k *storageKit) fresh() *testedStorage {
	k.Helper()
	s := k.unformatted()
	if s.state == (paxos.ServerState{}) {
		if err := paxos.Format(s.Storage, 1, storageMembers()); err != nil {
			k.Fatalf("Format of an empty storage: %v", err)
		}
		s.state = s.server()
	}
	return s
}

func storageMembers() paxos.Members {
	return paxos.Members{Cluster: "paxostest", Acceptors: []paxos.ServerID{1, 2, 3}}
}

// opened opens the storage in dir, which must hold what before holds; nil: it is new.
func (k *storageKit) opened(dir string, before *testedStorage) *testedStorage {
	k.Helper()
	s := &testedStorage{Storage: k.open(dir), kit: k, dir: dir}
	if s.Storage == nil {
		k.Fatalf("open returned nil")
	}
	k.Cleanup(func() {
		if c, ok := s.Storage.(io.Closer); ok && !s.closed {
			c.Close() // a test that failed may have left it in any state
		}
	})
	if before == nil {
		s.state, s.records = s.server(), map[string]paxos.Record{}
	} else {
		s.state, s.records = before.state, maps.Clone(before.records)
	}
	return s
}

// close closes the storage, and reports whether it can be closed.
func (s *testedStorage) close() bool {
	s.kit.Helper()
	c, ok := s.Storage.(io.Closer)
	if !ok {
		return false
	}
	s.closed = true
	if err := c.Close(); err != nil {
		s.kit.Fatalf("Close: %v", err)
	}
	return true
}

// reopened closes the storage and opens it again.
func (s *testedStorage) reopened() *testedStorage {
	s.kit.Helper()
	s.close()
	return s.kit.opened(s.dir, s)
}

// crashed opens a copy of the directory, as a crash now would leave it. The original stays open, and may be used.
func (s *testedStorage) crashed() *testedStorage {
	s.kit.Helper()
	return s.kit.opened(s.kit.copied(s.dir), s)
}

// counted returns b with a state that has no Index of b above its Last.
func (s *testedStorage) counted(b paxos.Batch) paxos.Batch { return raised(s.state, b) }

// raised returns b, which comes after a saved state, with a Last that none of its Indexes is above.
func raised(state paxos.ServerState, b paxos.Batch) paxos.Batch {
	if b.Server != nil {
		state = *b.Server
	}
	top := state.Last
	for _, r := range b.Records {
		top = max(top, r.Index)
	}
	if top > state.Last {
		state.Last = top
		b.Server = &state
	}
	return b
}

// save saves what a Storage must save, and notes it. It raises Last where an Index of b asks for that.
func (s *testedStorage) save(b paxos.Batch) {
	s.kit.Helper()
	b = s.counted(b)
	if err := s.Save(b); err != nil {
		s.kit.Fatalf("Save of %s: %v", describeBatch(b), err)
	}
	s.note(b)
}

// put saves records.
func (s *testedStorage) put(records ...paxos.Record) {
	s.kit.Helper()
	s.save(paxos.Batch{Records: records})
}

// note says that b is saved.
func (s *testedStorage) note(b paxos.Batch) {
	if b.Server != nil {
		s.state = *b.Server
	}
	if len(b.Drop) > 0 {
		maps.DeleteFunc(s.records, func(name string, _ paxos.Record) bool { return dropped(b.Drop, name) })
	}
	for _, r := range b.Records {
		s.records[r.Instance] = r
	}
}

// dropped reports whether one of the ranges has the name.
func dropped(ranges []paxos.NameRange, name string) bool {
	return slices.ContainsFunc(ranges, func(r paxos.NameRange) bool { return r.From <= name && name < r.To })
}

// refuse has a Save that must fail, since b takes back what.
func (s *testedStorage) refuse(b paxos.Batch, what string) {
	s.kit.Helper()
	if err := s.Save(b); err == nil {
		s.kit.Fatalf("Save of %s: nil: want an error, as %s", describeBatch(b), what)
	}
}

func (s *testedStorage) server() paxos.ServerState {
	s.kit.Helper()
	state, err := s.Server()
	if err != nil {
		s.kit.Fatalf("Server: %v", err)
	}
	return state
}

// loads checks that Load of the name returns want.
func (s *testedStorage) loads(name string, want paxos.Record) {
	s.kit.Helper()
	if err := s.checkLoad(name, want); err != nil {
		s.kit.Fatalf("%v", err)
	}
}

func (s *testedStorage) checkLoad(name string, want paxos.Record) error {
	got, err := s.Load(name)
	switch {
	case err != nil && want == (paxos.Record{}):
		return fmt.Errorf("Load(%s) of a name that has no record: %w: want the zero Record and no error", short(name), err)
	case err != nil:
		return fmt.Errorf("Load(%s): %w", short(name), err)
	case got != want:
		return fmt.Errorf("Load(%s) = %s, want %s", short(name), describe(got), describe(want))
	}
	return nil
}

// check checks that the storage holds what was saved and nothing else, in every way there is to ask.
func (s *testedStorage) check() {
	s.kit.Helper()
	if got := s.server(); got != s.state {
		s.kit.Fatalf("Server = %s, want %s", describeState(got), describeState(s.state))
	}
	s.checkUndecided()
	want := s.decidedIn(0, math.MaxInt)
	s.checkNamed("Decided(0, 2^63-1 or less)", s.decided(0, math.MaxInt), want)
	for _, name := range slices.Sorted(maps.Keys(s.records)) {
		s.loads(name, s.records[name])
	}
}

// checkUndecided checks that Undecided lists what is undecided, each name once.
func (s *testedStorage) checkUndecided() {
	s.kit.Helper()
	seen := map[string]bool{}
	for name := range s.undecided() {
		r, ok := s.records[name]
		switch {
		case seen[name]:
			s.kit.Fatalf("Undecided lists %s twice", short(name))
		case !ok:
			s.kit.Fatalf("Undecided lists %s, which has no record", short(name))
		case r.Chosen:
			s.kit.Fatalf("Undecided lists %s, which is decided", short(name))
		}
		seen[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(s.records)) {
		if r := s.records[name]; !r.Chosen && !seen[name] {
			s.kit.Fatalf("Undecided does not list %s, whose record is %s", short(name), describe(r))
		}
	}
}

// undecided is Undecided, which must not fail.
func (s *testedStorage) undecided() iter.Seq[string] {
	s.kit.Helper()
	return func(yield func(string) bool) {
		for name, err := range s.Undecided() {
			if err != nil {
				s.kit.Fatalf("Undecided: %v", err)
			}
			if !yield(name) {
				return
			}
		}
	}
}

// decided is Decided, which must not fail.
func (s *testedStorage) decided(after uint64, most int) []paxos.Named {
	s.kit.Helper()
	got, err := s.Decided(after, most)
	if err != nil {
		s.kit.Fatalf("Decided(%d, %d): %v", after, most, err)
	}
	return got
}

// decidedIn returns what Decided must return.
func (s *testedStorage) decidedIn(after uint64, most int) (want []paxos.Named) {
	for name, r := range s.records {
		if r.Chosen && r.Index > after {
			want = append(want, paxos.Named{Instance: name, Index: r.Index})
		}
	}
	slices.SortFunc(want, func(a, b paxos.Named) int { return cmp.Compare(a.Index, b.Index) })
	return want[:min(len(want), most)]
}

// page checks one call of Decided.
func (s *testedStorage) page(after uint64, most int) {
	s.kit.Helper()
	s.checkNamed(fmt.Sprintf("Decided(%d, %d)", after, most), s.decided(after, most), s.decidedIn(after, most))
}

func (s *testedStorage) checkNamed(call string, got, want []paxos.Named) {
	s.kit.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			s.kit.Fatalf("%s: its %s is %s, want %s", call, nth(i+1), describeNamed(got[i]), describeNamed(want[i]))
		}
	}
	switch {
	case len(got) > len(want):
		s.kit.Fatalf("%s returns %d, want %d: %s is one too many", call, len(got), len(want), describeNamed(got[len(want)]))
	case len(got) < len(want):
		s.kit.Fatalf("%s returns %d, want %d: %s is missing", call, len(got), len(want), describeNamed(want[len(got)]))
	}
}

// soon runs f in another goroutine and fails if it does not return.
func (k *storageKit) soon(what string, f func() error) {
	k.Helper()
	result := make(chan error, 1)
	go func() { result <- f() }()
	timer := time.NewTimer(k.timeLimit)
	defer timer.Stop()
	select {
	case err := <-result:
		if err != nil {
			k.Fatalf("%s: %v", what, err)
		}
	case <-timer.C:
		k.Fatalf("%s does not return", what)
	}
}

// copied copies a directory when its files no longer change, and returns the copy. Otherwise work in the background, such as compaction,
// could show a state that never was.
func (k *storageKit) copied(dir string) string {
	k.Helper()
	for began := time.Now(); time.Since(began) < k.timeLimit; {
		to := k.TempDir()
		before, err := listing(dir)
		if err == nil {
			err = os.CopyFS(to, regularFiles{os.DirFS(dir)})
		}
		after, listErr := listing(dir)
		if listErr == nil && before == after {
			if err != nil {
				k.Fatalf("the copy of the directory: %v", err)
			}
			return to
		}
	}
	k.Fatalf("the files in %s never keep still, so that they can't be copied as a crash would leave them", dir)
	return ""
}

// listing returns a text that changes when a file below dir does.
func listing(dir string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, name, info.Size(), info.ModTime().UnixNano(), info.Mode())
		return nil
	})
	return b.String(), err
}
