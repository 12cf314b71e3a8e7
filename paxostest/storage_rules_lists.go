package paxostest

import (
	"fmt"
	"math"

	"github.com/singledecree/paxos"
)

var storageListRules = []storageRule{
	{"Undecided lists each undecided name once", checkUndecidedLists},
	{"Decided lists in the order of Index", checkDecidedOrder},
	{"Decided returns the page after an Index", checkDecidedPages},
	{"an Index may be any number, with gaps", checkGaps},
	{"a decision moves its name from Undecided to Decided", checkDecisionMoves},
	{"100,000 instances are kept", checkManyInstances},
}

func checkUndecidedLists(k *storageKit) {
	s := k.fresh()
	for i := range 300 {
		r := votedRecord(fmt.Sprint("n", i*7919%300), 1, "v")
		if i%4 == 0 {
			r = decidedRecord(r.Instance, 1, "v", uint64(i+1))
		}
		s.put(r)
	}
	s.checkUndecided()
	for range s.undecided() {
		break // whoever looks may stop at any time
	}
	for range s.undecided() {
		s.checkUndecided() // one loop inside another
		break
	}
	s.reopened().checkUndecided()
}

func checkDecidedOrder(k *storageKit) {
	s := k.fresh()
	order := seeded(1).Perm(500) // neither the order of names nor that of saving
	for len(order) > 0 {
		var b paxos.Batch
		for _, i := range order[:min(len(order), 1+len(order)/3)] {
			b.Records = append(b.Records, decidedRecord(fmt.Sprint("n", i*7919%1000), 1, paxos.Value(fmt.Sprint(i)), uint64(i+1)))
		}
		order = order[len(b.Records):]
		s.save(b)
		s.page(0, 1000)
	}
	s.check()
	s.crashed().page(0, 1000)
	s.reopened().page(0, 1000)
}

func checkDecidedPages(k *storageKit) {
	const n = 100
	s := k.fresh()
	s.page(0, 10)
	for i := range n {
		s.put(decidedRecord(fmt.Sprint("n", n-i), 1, "v", uint64(2*i+2)), promisedRecord(fmt.Sprint("u", i), 1))
	}
	for range 2 {
		for _, after := range []uint64{0, 1, 2, 3, 50, 51, 198, 199, 200, 201, 1 << 20, math.MaxUint64} {
			for _, most := range []int{0, 1, 2, 3, 99, 100, 101, 1000, math.MaxInt} {
				s.page(after, most)
			}
		}
		for _, most := range []int{1, 3, 7, 50, 100, 101} {
			s.pages(most)
		}
		s = s.reopened()
	}
}

// pages reads all decisions in pages of most, as a subscriber does: fewer than most means that there are no more.
func (s *testedStorage) pages(most int) {
	s.kit.Helper()
	var all []paxos.Named
	for after := uint64(0); ; {
		page := s.decided(after, most)
		all = append(all, page...)
		if len(page) < most {
			break
		}
		last := page[len(page)-1].Index
		if len(page) > most || last <= after {
			s.kit.Fatalf("Decided(%d, %d) returns %d, up to index %d", after, most, len(page), last)
		}
		after = last
	}
	s.checkNamed(fmt.Sprintf("Decided in pages of %d", most), all, s.decidedIn(0, math.MaxInt))
}

func checkGaps(k *storageKit) {
	s := k.fresh()
	indexes := []uint64{1, 2, 127, 128, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32,
		1 << 62, 1<<63 - 1, 1 << 63, math.MaxUint64 - 1, math.MaxUint64}
	for i := range indexes {
		index := indexes[i*8%15] // a permutation: the numbers come in another order than theirs
		s.put(decidedRecord(fmt.Sprint("n", i), 1, "v", index))
	}
	for range 2 {
		s.check()
		s.pages(1)
		s.pages(4)
		for _, after := range indexes {
			s.page(after, 2)
			s.page(after-1, 2)
		}
		s = s.reopened()
	}
}

func checkDecisionMoves(k *storageKit) {
	s := k.fresh()
	const n = 50
	for i := range n {
		s.put(votedRecord(fmt.Sprint("n", i), 1, "v"))
	}
	for i := range n {
		s.put(decidedRecord(fmt.Sprint("n", i*31%n), 1, "v", uint64(i+1)))
		s.checkUndecided()
		s.page(0, n)
		if i%10 == 0 {
			s.crashed().check()
			s = s.reopened()
		}
	}
	s.check()
}

func checkManyInstances(k *storageKit) {
	n := k.scaled(100_000)
	s := k.fresh()
	name := func(i int) string { return fmt.Sprintf("instance %08d", i*7919%n) }
	const batch = 1000
	for from := 0; from < n; from += batch {
		var b paxos.Batch
		state := s.state
		for i := from; i < from+batch; i++ {
			r := promisedRecord(name(i), 1)
			if i%10 != 0 {
				state.Last++
				r = decidedRecord(r.Instance, 1, paxos.Value(fmt.Sprintf("a value of 64 bytes, more or less: %032d", i)), state.Last)
			}
			b.Records = append(b.Records, r)
		}
		b.Server = &state
		s.save(b)
	}
	s.check()
	s.pages(1000)
	for range 100 {
		s.loads(fmt.Sprintf("instance %08d", n+seeded(1).IntN(n)), paxos.Record{})
	}
	s.crashed().check()
	s = s.reopened()
	s.put(decidedRecord(name(0), 1, "v", s.state.Last+1))
	s.check()
}
