package paxostest

import (
	"fmt"
	"math"
	"reflect"
	"sync"

	"github.com/singledecree/paxos"
)

var storagePromptRules = []storageRule{
	{"what is known at once is what a reader returns", checkKnownAtOnce},
	{"nothing is known at once after Close", checkNothingKnownAfterClose},
	{"to expect names changes no answer", checkExpect},
	{"a Save at once waits for no reader", checkSaveAtOnce},
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

// checkExpect has names expected that are there, are not, or occur twice, and then writes over the slice.
func checkExpect(k *storageKit) {
	s := k.fresh()
	e, ok := s.prompt().(paxos.ExpectingStorage)
	if !ok {
		return
	}
	for i := range uint64(20) {
		name := fmt.Sprintf("n%02d", i)
		s.put(votedRecord(name, 1, "v"), decidedRecord("d"+name, 1, "w", i+1))
		names := []string{name, "unknown", "dn00", name, "d" + name}
		k.soon("Expect", func() error { e.Expect(names); return nil })
		for j := range names {
			names[j] = "overwritten by the caller"
		}
		e.Expect(nil)
		s.check()
		s.knows()
	}
}

// checkSaveAtOnce saves where a Node would stand still meanwhile: readers have stopped in the middle of a list, and go on only after it.
func checkSaveAtOnce(k *storageKit) {
	s := k.fresh()
	if _, ok := s.prompt().(paxos.InstantStorage); !ok {
		return
	}
	s.put(votedRecord("a", 1, "v"), votedRecord("b", 1, "v"))
	const readers = 4
	stopped, goOn := make(chan struct{}, readers), make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	defer close(goOn)
	for range readers {
		all.Go(func() {
			for range s.Storage.Undecided() {
				stopped <- struct{}{}
				<-goOn
				return
			}
		})
	}
	for range readers {
		k.soon("Undecided", func() error { <-stopped; return nil })
	}
	b := s.counted(paxos.Batch{Records: []paxos.Record{decidedRecord("a", 1, "v", 1), promisedRecord("c", 1)}})
	k.soon("Save at once, while lists are read,", func() error { return s.Save(b) })
	s.note(b)
	s.knows()
}
