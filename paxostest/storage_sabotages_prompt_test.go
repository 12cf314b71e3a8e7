package paxostest

import (
	"iter"
	"sync"

	"github.com/singledecree/paxos"
)

// A promptStorage answers all that it is asked at once, and answers right unless a function is set.
type promptStorage struct {
	closingStorage
	loadNow    func(s *promptStorage, name string) (paxos.Record, bool)
	decidedNow func(s *promptStorage, after uint64, most int) ([]paxos.Named, bool)
}

func (s *promptStorage) Self() paxos.Storage { return s }

func (s *promptStorage) LoadNow(name string) (paxos.Record, bool) {
	if s.loadNow != nil {
		return s.loadNow(s, name)
	}
	rec, err := s.Load(name)
	return rec, err == nil
}

func (s *promptStorage) DecidedNow(after uint64, most int) ([]paxos.Named, bool) {
	if s.decidedNow != nil {
		return s.decidedNow(s, after, most)
	}
	named, err := s.Decided(after, most)
	return named, err == nil
}

// prompt makes a promptStorage of the functions of another.
func prompt(p promptStorage) func(closingStorage) paxos.Storage {
	return func(s closingStorage) paxos.Storage {
		own := p
		own.closingStorage = s
		return &own
	}
}

// An expectingStorage forgets an expected record, if it is to, and answers right otherwise.
type expectingStorage struct {
	promptStorage
	expected map[string]bool
}

func (s *expectingStorage) Self() paxos.Storage { return s }

func (s *expectingStorage) Expect(names []string) {
	for _, name := range names {
		s.expected[name] = true
	}
}

func (s *expectingStorage) LoadNow(name string) (paxos.Record, bool) {
	if s.expected[name] {
		return paxos.Record{}, true
	}
	return s.promptStorage.LoadNow(name)
}

// An instantStorage has its Save wait for the lists that are read.
type instantStorage struct {
	promptStorage
	lists sync.RWMutex
}

func (s *instantStorage) Self() paxos.Storage { return s }
func (s *instantStorage) SavesAtOnce()        {}

func (s *instantStorage) Save(b paxos.Batch) error {
	if s.lists.TryLock() {
		defer s.lists.Unlock()
		return s.promptStorage.Save(b)
	}
	s.lists.Lock() // the rule has failed meanwhile
	defer s.lists.Unlock()
	return errSabotage
}

func (s *instantStorage) Undecided() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		s.lists.RLock()
		defer s.lists.RUnlock()
		s.promptStorage.Undecided()(yield)
	}
}

var promptSabotages = []storageSabotage{
	{name: "what was expected is forgotten", rule: "to expect names changes no answer", want: `LoadNow("`,
		wrap: func(s closingStorage) paxos.Storage {
			return &expectingStorage{promptStorage{closingStorage: s}, map[string]bool{}}
		}},
	{name: "a Save at once waits for lists", rule: "a Save at once waits for no reader", want: "Save at once, while lists are read, does not return", hangs: true,
		wrap: func(s closingStorage) paxos.Storage {
			return &instantStorage{promptStorage: promptStorage{closingStorage: s}}
		}},
	{name: "LoadNow takes what it does not hold for none", rule: "what is known at once is what a reader returns",
		want: `LoadNow("n00") = the zero Record, want {`,
		wrap: prompt(promptStorage{loadNow: func(*promptStorage, string) (paxos.Record, bool) { return paxos.Record{}, true }})},
	{name: "LoadNow knows no decision", rule: "what is known at once is what a reader returns", want: `LoadNow("n00") = {`,
		wrap: prompt(promptStorage{loadNow: func(s *promptStorage, name string) (paxos.Record, bool) {
			rec, err := s.Load(name)
			rec.Chosen = false
			return rec, err == nil
		}})},
	{name: "DecidedNow includes after", rule: "what is known at once is what a reader returns", want: "DecidedNow(1, 1) returns 1, want 0",
		wrap: prompt(promptStorage{decidedNow: func(s *promptStorage, after uint64, most int) ([]paxos.Named, bool) {
			named, err := s.Decided(max(after, 1)-1, most)
			return named, err == nil
		}})},
	{name: "LoadNow after Close", rule: "nothing is known at once after Close", want: `after Close, LoadNow("x") = the zero Record, and ok`,
		wrap: prompt(promptStorage{loadNow: func(s *promptStorage, name string) (paxos.Record, bool) {
			rec, _ := s.Load(name)
			return rec, true
		}})},
	{name: "DecidedNow after Close", rule: "nothing is known at once after Close", want: "after Close, DecidedNow(0, 10) = [], and ok",
		wrap: prompt(promptStorage{decidedNow: func(s *promptStorage, after uint64, most int) ([]paxos.Named, bool) {
			named, _ := s.Decided(after, most)
			return named, true
		}})},
}
