package paxostest

import (
	"fmt"

	"github.com/singledecree/paxos"
)

var storageDropRules = []storageRule{
	{"Drop removes the names From <= name < To", checkDropRanges},
	{"Drop comes before the Records of its batch", checkDropFirst},
	{"a dropped name can come back", checkDropComesBack},
	{"a dropped range is gone at once, however many names it has", checkDropMany},
	{"a forgotten record takes the place of any other", checkForgotten},
	{"the record of a forgotten range and its Drop are one Save", checkForgottenRange},
}

func checkDropRanges(k *storageKit) {
	names := []string{"\x00", "a", "a\x00", "ab", "b", "ba", "c", "\xff", "\xff\xff"}
	for _, drop := range [][]paxos.NameRange{
		{{From: "a", To: "b"}},                            // From is in, To is not
		{{From: "aa", To: "bb"}},                          // bounds that are no names
		{{From: "a", To: "a\x00"}},                        // one name
		{{From: "", To: "a"}},                             // from the first
		{{From: "c", To: "\xff\xff\xff"}},                 // to the last
		{{From: "b", To: "b"}, {}},                        // empty
		{{From: "c", To: "a"}, {From: "a", To: ""}},       // backwards
		{{From: "a", To: "ab"}, {From: "a\x00", To: "b"}}, // two that overlap
		{{From: "b", To: "c"}, {From: "", To: "a\x00"}},   // two that do not, the later first
		{{From: "", To: "\xff\xff\xff"}},                  // all
	} {
		var b paxos.Batch
		for i, name := range names {
			r := decidedRecord(name, 1, "v", uint64(i+1))
			if i%2 == 0 {
				r = votedRecord(name, 1, "v")
			}
			b.Records = append(b.Records, r)
		}
		s := k.fresh()
		s.save(b)
		s.save(paxos.Batch{Drop: drop})
		checkNames := func(s *testedStorage) {
			k.Helper()
			for _, name := range names {
				s.loads(name, s.records[name])
			}
			s.check()
			s.pages(2)
		}
		checkNames(s)
		checkNames(s.crashed())
		checkNames(s.reopened())
	}
}

func checkDropFirst(k *storageKit) {
	s := k.fresh()
	s.put(decidedRecord("x", 5, "v", 1), decidedRecord("y", 5, "v", 2), votedRecord("z", 5, "v"))
	state := s.state
	state.Last = 9
	s.save(paxos.Batch{Server: &state, Drop: []paxos.NameRange{{From: "x", To: "zz"}},
		Records: []paxos.Record{promisedRecord("x", 1), decidedRecord("new", 1, "w", 9), votedRecord("yy", 1, "w")}})
	s.check()
	s.crashed().check()
	s.reopened().check()
}

// checkDropComesBack drops names of every kind, and puts them again as another kind, more than once.
func checkDropComesBack(k *storageKit) {
	s := k.fresh()
	for round := range uint64(4) {
		s.put(votedRecord("a", 9-round, "v"), decidedRecord("b", 9-round, paxos.Value(fmt.Sprint("value ", round)), 10*round+1),
			promisedRecord("c", 9))
		s.check()
		if round%2 == 0 {
			s = s.reopened()
		}
		s.save(paxos.Batch{Drop: []paxos.NameRange{{From: "a", To: "c"}}})
		s.loads("a", paxos.Record{})
		s.loads("b", paxos.Record{})
		s.page(0, 10)
		s.checkUndecided()
		if round%2 == 1 {
			s = s.reopened()
			s.check()
		}
		s.put(decidedRecord("a", 1, "w", 10*round+2), votedRecord("b", 1, "w"))
		s.check()
		s.crashed().check()
		s.save(paxos.Batch{Drop: []paxos.NameRange{{From: "a", To: "bb"}}})
		s.check()
	}
	s.reopened().check()
}

// checkDropMany drops a range of more names than a storage may care to remove in one Save. Some come back at once, as another kind, and
// are dropped again.
func checkDropMany(k *storageKit) {
	const n, most = 9000, 1000
	s := k.fresh()
	for i := 0; i < n; {
		var b paxos.Batch
		for ; len(b.Records) < most; i++ {
			switch name := fmt.Sprintf("job/%05d", i); {
			case i%100 == 0:
				b.Records = append(b.Records, decidedRecord(fmt.Sprintf("lunch/%05d", i), 1, "pizza", uint64(i+1)))
			case i%3 == 0:
				b.Records = append(b.Records, votedRecord(name, 9, "value"))
			default:
				b.Records = append(b.Records, decidedRecord(name, 9, "value", uint64(i+1)))
			}
		}
		s.save(b)
	}
	check := func() {
		k.Helper()
		for i := 0; i < n; i += 499 {
			name := fmt.Sprintf("job/%05d", i)
			s.loads(name, s.records[name])
		}
		s.page(0, 10)
		s.page(n/2, 10)
		s.check()
	}
	jobs := paxos.Prefix("job/")
	s.save(paxos.Batch{Drop: []paxos.NameRange{jobs}})
	check()
	for i := range uint64(20) {
		name := fmt.Sprintf("job/%05d", 450*i+1)
		if i%2 == 0 {
			s.put(promisedRecord(name, 1))
		} else {
			s.put(decidedRecord(name, 1, "again", n+1+i))
		}
		if i%5 == 0 {
			check()
		}
	}
	s.save(paxos.Batch{Drop: []paxos.NameRange{{From: "job/03", To: "job/06"}}, Records: []paxos.Record{votedRecord("job/04501", 1, "more")}})
	check()
	s.crashed().check()
	s.save(paxos.Batch{Drop: []paxos.NameRange{jobs}})
	check()
	k.lasts(s)
}

// forgottenRecord is the record of a forgotten instance.
func forgottenRecord(name string, index uint64) paxos.Record {
	return paxos.Record{Instance: name, Acceptor: paxos.Acceptor{}.Forget(), Chosen: true, Index: index}
}

// checkForgotten forgets names of every kind, and one that is new. Each is then listed once, at its new Index.
func checkForgotten(k *storageKit) {
	s := k.fresh()
	s.put(votedRecord("a", 9, "v"), decidedRecord("b", 9, "some value", 1), promisedRecord("c", 9), decidedRecord("d", 9, "", 2))
	s.put(forgottenRecord("b", 3), forgottenRecord("a", 4))
	s.put(forgottenRecord("new", 5), forgottenRecord("c", 6), forgottenRecord("d", 7))
	s = k.lasts(s)
	s.put(forgottenRecord("b", 8)) // again
	s.check()
	s.crashed().check()
}

// checkForgottenRange forgets a range, then a larger one, in one Save each: the Drop, the record of the range and the state.
func checkForgottenRange(k *storageKit) {
	s := k.fresh()
	for i := range uint64(20) {
		s.put(decidedRecord(fmt.Sprintf("job/%02d", i), 1, "value", i+1))
	}
	s.put(votedRecord("job/x", 1, "value"), decidedRecord("lunch", 1, "pizza", 21))
	for i, names := range []paxos.NameRange{{From: "job/", To: "job/1"}, paxos.Prefix("job/")} {
		state := s.state
		state.Last, state.Forgotten = 30+uint64(i), 1
		rec := forgottenRecord("$forgotten/0", state.Last)
		rec.Acceptor.Accepted, rec.Acceptor.Value = rec.Acceptor.Promised, paxos.Value(names.String())
		s.save(paxos.Batch{Server: &state, Drop: []paxos.NameRange{names}, Records: []paxos.Record{rec}})
		s = k.lasts(s)
	}
}

// lasts checks what s holds now, after a crash, and after it was opened again. It returns the one that was opened.
func (k *storageKit) lasts(s *testedStorage) *testedStorage {
	k.Helper()
	check := func(s *testedStorage) {
		s.check()
		s.pages(2)
	}
	check(s)
	check(s.crashed())
	s = s.reopened()
	check(s)
	return s
}
