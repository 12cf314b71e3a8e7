package paxostest

import (
	"fmt"
	"math"
	"strings"

	"github.com/singledecree/paxos"
)

var storageRecordRules = []storageRule{
	{"a new storage holds nothing", checkNewStorage},
	{"what was saved is loaded, every field", checkSavedIsLoaded},
	{"a later record replaces the earlier one of its name", checkOverwrite},
	{"the empty value is a value", checkEmptyValue},
	{"names and values are bytes of any kind", checkBinary},
	{"a value of 1 MiB is saved", checkLargestValue},
	{"a batch of 4 MiB is saved", checkLargestBatch},
	{"a batch is saved whole", checkWholeBatch},
	{"none is not an error", checkNoneIsNoError},
}

func checkNewStorage(k *storageKit) {
	for _, open := range []func() *testedStorage{k.unformatted, k.fresh} {
		s := open()
		s.loads("lunch", paxos.Record{})
		s.check()
		s.reopened().check()
	}
	s := k.fresh().crashed()
	s.loads("lunch", paxos.Record{})
	s.check()
}

// kindsOfRecord returns a record of every kind that a server saves, and some with the highest numbers.
func kindsOfRecord() []paxos.Record {
	top := paxos.Ballot{Round: math.MaxUint64, Server: math.MaxUint64}
	return []paxos.Record{
		promisedRecord("a promise", 3),
		votedRecord("a vote", 3, "burger"),
		{Instance: "a vote below the promise", Acceptor: paxos.Acceptor{Promised: paxos.Ballot{Round: 9, Server: 1},
			Accepted: paxos.Ballot{Round: 2, Server: 3}, Value: "pizza"}},
		{Instance: "a vote in round 0", Acceptor: paxos.Acceptor{
			Promised: paxos.Ballot{Server: 1}, Accepted: paxos.Ballot{Server: 1}, Value: "x"}},
		decidedRecord("a decision", 5, "kimbap", 1),
		{Instance: "a decision below the promise", Chosen: true, Index: 2, Acceptor: paxos.Acceptor{
			Promised: paxos.Ballot{Round: 7, Server: 2}, Accepted: paxos.Ballot{Round: 6, Server: 1}, Value: "soup"}},
		{Instance: "a decision above the promise", Chosen: true, Index: 300, Acceptor: paxos.Acceptor{
			Promised: paxos.Ballot{Round: 1, Server: 2}, Accepted: paxos.Ballot{Round: 6, Server: 1}, Value: "rice"}},
		{Instance: "the highest numbers", Acceptor: paxos.Acceptor{Promised: top, Accepted: top, Value: "v"}},
		{Instance: "the highest numbers, decided", Chosen: true, Index: math.MaxUint64, Acceptor: paxos.Acceptor{
			Promised: top, Accepted: top}},
		{Instance: "nothing yet"},
		promisedRecord("$reserved", 1),
	}
}

func checkSavedIsLoaded(k *storageKit) {
	one, all := k.fresh(), k.fresh()
	for _, r := range kindsOfRecord() {
		one.put(r)
		one.loads(r.Instance, r)
		one.loads(r.Instance+"\x00", paxos.Record{})
		one.loads(r.Instance[:len(r.Instance)-1], paxos.Record{})
	}
	all.put(kindsOfRecord()...)
	for _, s := range []*testedStorage{one, all} {
		s.check()
		s.crashed().check()
		s.reopened().check()
	}
}

func checkOverwrite(k *storageKit) {
	s := k.fresh()
	other := votedRecord("other", 4, "stays")
	s.put(promisedRecord("lunch", 1), other)
	steps := []paxos.Record{
		promisedRecord("lunch", 2),
		votedRecord("lunch", 2, "burger"),
		{Instance: "lunch", Acceptor: paxos.Acceptor{
			Promised: paxos.Ballot{Round: 8, Server: 1}, Accepted: paxos.Ballot{Round: 2, Server: 3}, Value: "burger"}},
		votedRecord("lunch", 9, "a longer value than the one before"),
		votedRecord("lunch", 10, ""),
		votedRecord("lunch", 11, "pizza"),
		decidedRecord("lunch", 11, "pizza", 1),
		decidedRecord("lunch", 11, "pizza", 1), // the same again
	}
	for _, r := range steps {
		s.put(r)
		s.check()
		s.crashed().check()
		s = s.reopened()
		s.check()
	}
}

func checkEmptyValue(k *storageKit) {
	s := k.fresh()
	s.put(votedRecord("a vote", 3, ""), decidedRecord("a decision", 4, "", 1))
	s.put(promisedRecord("a promise", 3))
	s.check()
	s.crashed().check()
	s.reopened().check()
}

// checkBinary uses names that a storage may confuse: one is part of another, ends in zeros, or differs in case alone.
func checkBinary(k *storageKit) {
	s := k.fresh()
	names := []string{"a", "A", "a\x00", "a\x00\x00", "aa", "\x00", "\x00\x00", "\xff", "\xff\xff", "\xff\xfe", "\x01", ".", "..", "/", "a/b",
		`a\b`, "a b", "\n", "\xc3\xa9", "e\xcc\x81", "$", "%s", "日本語", strings.Repeat("n", paxos.MaxName),
		strings.Repeat("n", paxos.MaxName-1), strings.Repeat("\xff", paxos.MaxName), "0", "1", "server", "state"}
	for i := range 256 {
		names = append(names, "byte"+string([]byte{byte(i)}))
	}
	records := make([]paxos.Record, len(names))
	for i, name := range names {
		records[i] = votedRecord(name, 1, paxos.Value(name))
		if i%2 == 0 {
			records[i] = decidedRecord(name, 1, paxos.Value(name+"\x00"), uint64(i+1))
		}
	}
	s.put(records[:len(records)/2]...)
	for _, r := range records[len(records)/2:] {
		s.loads(r.Instance, paxos.Record{})
	}
	s.put(records[len(records)/2:]...)
	s.check()
	for _, name := range names {
		for _, near := range []string{name + "\x00", name + "n", name[1:], name[:len(name)-1], strings.ToUpper(name),
			strings.ToLower(name)} {
			if near != "" && len(near) <= paxos.MaxName {
				s.loads(near, s.records[near])
			}
		}
	}
	s.crashed().check()
	s.reopened().check()
}

// randomValue returns bytes that no compression makes shorter.
func randomValue(seed uint64, size int) paxos.Value {
	b := make([]byte, size)
	src := seeded(seed)
	for i := range b {
		b[i] = byte(src.Uint32())
	}
	return paxos.Value(b)
}

func checkLargestValue(k *storageKit) {
	const size = 1 << 20
	s := k.fresh()
	long := strings.Repeat("n", paxos.MaxName)
	s.put(votedRecord("before", 1, "v"))
	s.put(votedRecord(long, 1, randomValue(1, size)))
	s.put(decidedRecord("zeros", 1, paxos.Value(make([]byte, size)), 1))
	s.put(votedRecord("after", 1, "v"))
	s.check()
	s.put(decidedRecord(long, 2, randomValue(2, size), 2))
	s.check()
	s.crashed().check()
	s.reopened().check()
}

func checkLargestBatch(k *storageKit) {
	const size, room = 4 << 20, 64 // room: for name, ballots and whatever else a record has
	s := k.fresh()
	var few, many []paxos.Record
	for i := range 4 {
		few = append(few, votedRecord(fmt.Sprint("few", i), 1, randomValue(uint64(i), size/4-room)))
	}
	for i := range size / 128 {
		many = append(many, decidedRecord(fmt.Sprintf("many%06d", i), 1, paxos.Value(strings.Repeat("v", 128-room)), uint64(i+1)))
	}
	for _, records := range [][]paxos.Record{few, many} {
		state := s.state
		state.Rounds++
		s.save(paxos.Batch{Server: &state, Records: records})
	}
	s.check()
	s.crashed().check()
	s.reopened().check()
}

// checkWholeBatch saves batches with everything that a batch can hold. One of them ends with a state that the storage must refuse: nothing
// of that batch may be seen.
func checkWholeBatch(k *storageKit) {
	s := k.fresh()
	s.save(paxos.Batch{})
	var records []paxos.Record
	for i := range 200 {
		name := fmt.Sprintf("n%03d", i)
		switch i % 3 {
		case 0:
			records = append(records, promisedRecord(name, 1))
		case 1:
			records = append(records, votedRecord(name, 1, "v"))
		case 2:
			records = append(records, decidedRecord(name, 1, "v", uint64(i)))
		}
	}
	state := s.state
	state.Boot, state.Rounds, state.Last = state.Boot+1, state.Rounds+1000, 200
	s.save(paxos.Batch{Server: &state, Records: records})
	s.check()
	s.crashed().check()

	state.Boot, state.Last = state.Boot+1, 600
	s.save(paxos.Batch{Server: &state, Drop: []paxos.NameRange{{From: "n010", To: "n020"}},
		Records: []paxos.Record{promisedRecord("n015", 1), decidedRecord("n001", 1, "v", 500), votedRecord("new", 1, "w")}})
	s.check()
	s.crashed().check()
	s = s.reopened()
	s.check()

	state.Boot--
	s.refuse(paxos.Batch{Server: &state, Drop: []paxos.NameRange{{From: "n02", To: "n03"}},
		Records: []paxos.Record{promisedRecord("refused", 1), decidedRecord("n004", 1, "v", 600)}}, "Boot goes down")
	s.checkAfterError()
	s = s.reopened()
	s.loads("refused", paxos.Record{})
	s.check()
}

func checkNoneIsNoError(k *storageKit) {
	s := k.unformatted()
	s.server()
	s = k.fresh()
	for _, records := range [][]paxos.Record{nil, {promisedRecord("lunch", 1)}, {decidedRecord("dinner", 1, "v", 7)}} {
		s.put(records...)
		for _, name := range []string{"lunc", "lunch\x00", "lunchs", "dinnes", "z", "\x00", strings.Repeat("z", paxos.MaxName)} {
			s.loads(name, paxos.Record{})
		}
		s.checkUndecided()
		s.page(7, 1)
		s.page(math.MaxUint64, 10)
	}
}
