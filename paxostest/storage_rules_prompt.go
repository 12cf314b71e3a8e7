package paxostest

import (
	"fmt"
	"math"
	"reflect"

	"github.com/singledecree/paxos"
)

var storagePromptRules = []storageRule{
	{"what is known at once is what a reader returns", checkKnownAtOnce},
	{"nothing is known at once after Close", checkNothingKnownAfterClose},
}

// prompt returns the storage if it is a PromptStorage that speaks for itself; else nil, and these rules ask nothing of it.
func (s *testedStorage) prompt() paxos.PromptStorage {
	p, ok := s.Storage.(paxos.PromptStorage)
	if !ok || !reflect.ValueOf(s.Storage).Comparable() || p.Self() != s.Storage {
		return nil
	}
	return p
}

// knows checks that what LoadNow and DecidedNow return is what was saved.
func (s *testedStorage) knows() {
	s.kit.Helper()
	p := s.prompt()
	if p == nil {
		return
	}
	names := []string{"unknown"}
	for name := range s.records {
		names = append(names, name)
	}
	for _, name := range names {
		if rec, ok := p.LoadNow(name); ok && rec != s.records[name] {
			s.kit.Fatalf("LoadNow(%s) = %s, want %s, or not ok", short(name), describe(rec), describe(s.records[name]))
		}
	}
	for _, after := range []uint64{0, 1, s.state.Last, math.MaxUint64} {
		for _, most := range []int{0, 1, 3, math.MaxInt} {
			if named, ok := p.DecidedNow(after, most); ok {
				s.checkNamed(fmt.Sprintf("DecidedNow(%d, %d)", after, most), named, s.decidedIn(after, most))
			}
		}
	}
}

// checkKnownAtOnce looks after each of many changes: records come, change, are decided, are dropped and come again.
func checkKnownAtOnce(k *storageKit) {
	s := k.fresh()
	s.knows()
	for i := range uint64(20) {
		name := fmt.Sprintf("n%02d", i)
		for _, r := range []paxos.Record{promisedRecord(name, 1), votedRecord(name, 2, "v"), decidedRecord(name, 2, "v", i+1)} {
			s.put(r)
			s.knows()
		}
		s.put(votedRecord(fmt.Sprintf("open%02d", i), 1, "w"))
		if i%5 == 4 {
			s.save(paxos.Batch{Drop: []paxos.NameRange{{From: fmt.Sprintf("n%02d", i-3), To: fmt.Sprintf("n%02d", i-1)}}})
			s.knows()
			s = s.reopened()
			s.knows()
		}
	}
	s.crashed().knows()
}

func checkNothingKnownAfterClose(k *storageKit) {
	s := k.fresh()
	s.put(votedRecord("x", 1, "v"), decidedRecord("y", 1, "w", 1))
	p := s.prompt()
	if !s.close() || p == nil {
		return
	}
	for _, name := range []string{"x", "y", "unknown"} {
		if rec, ok := p.LoadNow(name); ok {
			k.Fatalf("after Close, LoadNow(%s) = %s, and ok", short(name), describe(rec))
		}
	}
	if named, ok := p.DecidedNow(0, 10); ok {
		k.Fatalf("after Close, DecidedNow(0, 10) = %v, and ok", named)
	}
}
