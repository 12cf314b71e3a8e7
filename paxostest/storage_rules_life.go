package paxostest

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/singledecree/paxos"
)

var storageLifeRules = []storageRule{
	{"what was saved is there when it is opened again", checkReopen},
	{"what was saved is there after a crash without Close", checkCrash},
	{"any sequence of saves, crashes and restarts is kept", checkAnySequence},
	{"after a Save that failed every later one fails", checkDead},
	{"after Close every call is an error", checkClosed},
	{"an error is never none", checkErrorIsNeverNone},
}

func checkReopen(k *storageKit) {
	s := k.fresh()
	s = s.reopened() // with nothing to keep but the state
	s.check()
	for i := range uint64(20) {
		state := s.state
		state.Boot++
		state.Last = max(state.Last, i+1)
		s.save(paxos.Batch{Server: &state, Records: []paxos.Record{decidedRecord(fmt.Sprint("d", i), 1, "v", i+1),
			votedRecord("open", i+1, "w"), promisedRecord(fmt.Sprint("p", i), 1)}})
		s = s.reopened()
		s.check()
		if i%5 == 0 {
			s = s.reopened() // with nothing saved in between
			s.check()
		}
	}
}

// checkCrash crashes after every Save. Each copy goes on by itself, and so does the original.
func checkCrash(k *storageKit) {
	s := k.fresh()
	s.crashed().check()
	for i := range uint64(12) {
		state := s.state
		state.Rounds += 10
		s.save(paxos.Batch{Server: &state, Records: []paxos.Record{votedRecord("open", i+1, "w"),
			decidedRecord(fmt.Sprint("d", i), 1, randomValue(i, 100<<(i%8)), i+1)}})
		crashed := s.crashed()
		crashed.check()
		crashed.put(votedRecord("after the crash", i+1, "v"))
		crashed.check()
		again := crashed.crashed()
		again.check()
		again = again.reopened()
		again.check()
		s.loads("after the crash", s.records["after the crash"]) // the copy alone has the records saved in the copy
		if i%4 == 3 {
			s = crashed
		}
	}
	s.reopened().check()
}

// checkAnySequence does at random what a server may do, and looks at everything whenever the storage is opened.
func checkAnySequence(k *storageKit) {
	for seed := range uint64(k.scaled(20)) {
		src := seeded(seed)
		s := k.fresh()
		index := uint64(0)
		for step := range 60 {
			b := paxos.Batch{}
			if src.IntN(3) == 0 {
				state := s.state
				state.Boot, state.Rounds, state.Pulled = state.Boot+1, state.Rounds+src.Uint64N(9), fmt.Sprint("2/a/", step)
				b.Server = &state
			}
			if src.IntN(6) == 0 {
				from := src.IntN(30)
				b.Drop = []paxos.NameRange{{From: fmt.Sprintf("n%02d", from), To: fmt.Sprintf("n%02d", from+src.IntN(8))}}
			}
			for _, i := range src.Perm(30)[:src.IntN(8)] {
				name := fmt.Sprintf("n%02d", i)
				old := s.records[name]
				if dropped(b.Drop, name) {
					old = paxos.Record{}
				}
				if !old.Chosen {
					b.Records = append(b.Records, laterRecord(name, old, &index, src.IntN(3), paxos.Value(randomValue(src.Uint64(), src.IntN(500)))))
				}
			}
			s.save(b)
			switch src.IntN(8) {
			case 0:
				s = s.reopened()
				s.check()
			case 1:
				s = s.crashed()
				s.check()
			}
		}
		s.check()
	}
}

// laterRecord returns what may follow old: a promise, a vote or a decision.
func laterRecord(name string, old paxos.Record, index *uint64, kind int, v paxos.Value) paxos.Record {
	round := old.Acceptor.Promised.Round + 1
	switch kind {
	case 0:
		r := old
		r.Instance, r.Acceptor.Promised = name, paxos.Ballot{Round: round, Server: 1}
		return r
	case 1:
		return votedRecord(name, round, v)
	default:
		*index += 1 + *index%3
		return decidedRecord(name, round, v, *index)
	}
}

// withFailedSave returns a storage that has refused a Save.
func withFailedSave(k *storageKit) *testedStorage {
	k.Helper()
	s := k.fresh()
	state := s.state
	state.Boot, state.Last = state.Boot+2, 2
	s.save(paxos.Batch{Server: &state, Records: []paxos.Record{votedRecord("x", 1, "v"), decidedRecord("y", 1, "w", 2)}})
	state.Boot--
	s.refuse(paxos.Batch{Server: &state}, "Boot goes down")
	return s
}

func checkDead(k *storageKit) {
	s := withFailedSave(k)
	state := s.state
	state.Boot++
	for range 2 {
		for _, b := range []paxos.Batch{{Records: []paxos.Record{promisedRecord("z", 1)}}, {Server: &state}, {}} {
			s.refuse(b, "an earlier Save failed: the storage is dead")
		}
	}
	s.checkAfterError()
	s = s.reopened()
	s.check()
}

// checkAfterError checks that the readers of a storage whose Save failed return what was saved, or an error.
func (s *testedStorage) checkAfterError() {
	s.kit.Helper()
	if state, err := s.Server(); err == nil && state != s.state {
		s.kit.Fatalf("after an error, Server = %s, want %s or an error", describeState(state), describeState(s.state))
	}
	for _, name := range append(slices.Sorted(maps.Keys(s.records)), "unknown", "y") {
		if r, err := s.Load(name); err == nil && r != s.records[name] {
			s.kit.Fatalf("after an error, Load(%s) = %s, want %s or an error", short(name), describe(r), describe(s.records[name]))
		}
	}
	if named, err := s.Decided(0, 1000); err == nil {
		s.checkNamed("after an error, Decided(0, 1000)", named, s.decidedIn(0, 1000))
	}
	listed, err := collect(s.Undecided())
	for name, r := range s.records {
		if err == nil && !r.Chosen && !slices.Contains(listed, name) {
			s.kit.Fatalf("after an error, Undecided lists neither %s nor an error", short(name))
		}
	}
}

// collect returns what a list has, and how it ends.
func collect(list iter.Seq2[string, error]) (names []string, err error) {
	for name, err := range list {
		if err != nil {
			return names, err
		}
		names = append(names, name)
	}
	return names, nil
}

func checkClosed(k *storageKit) {
	s := k.fresh()
	s.put(votedRecord("x", 1, "v"), decidedRecord("y", 1, "w", 1))
	list := s.Undecided() // called before, ranged over after
	if !s.close() {
		return // it has no Close
	}
	if state, err := s.Server(); err == nil {
		k.Fatalf("after Close, Server = %s: want an error", describeState(state))
	}
	for _, name := range []string{"x", "y", "unknown"} {
		if r, err := s.Load(name); err == nil {
			k.Fatalf("after Close, Load(%s) = %s: want an error", short(name), describe(r))
		}
	}
	for _, after := range []uint64{0, 1} {
		if named, err := s.Decided(after, 10); err == nil {
			k.Fatalf("after Close, Decided(%d, 10) = %v: want an error", after, named)
		}
	}
	if listed, err := collect(s.Undecided()); err == nil {
		k.Fatalf("after Close, Undecided ends without an error; it lists %q", listed)
	}
	if listed, err := collect(list); err == nil && !slices.Equal(listed, []string{"x"}) {
		k.Fatalf("after Close, Undecided, which was called before, ends without an error; it lists %q, want x or an error", listed)
	}
	for _, b := range []paxos.Batch{{Records: []paxos.Record{promisedRecord("z", 1)}}, {Server: &s.state}, {}} {
		s.refuse(b, "the storage is closed")
	}
	s = k.opened(s.dir, s)
	s.check()
}

// checkErrorIsNeverNone reads from a storage that can't go on, after a failed Save or after Close. If it returns no record in place of an
// error, the acceptor has forgotten its promise.
func checkErrorIsNeverNone(k *storageKit) {
	s := withFailedSave(k)
	s.checkAfterError()
	if s.close() {
		s.checkAfterError()
	}
}
