package paxostest

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/singledecree/paxos"
)

var storageBesideRules = []storageRule{
	{"a Save runs while a reader lists", checkSaveInLoop},
	{"readers beside a Save see what was saved", checkReadersBesideSave},
	{"calls run beside each other", checkConcurrentCalls},
	{"slices stay the caller's", checkSlices},
}

// checkSaveInLoop saves from inside a loop over Undecided. If the loop held a lock, Save would wait for ever. It saves enough for files and
// caches to grow. Every second old name is decided meanwhile, and new names are added.
func checkSaveInLoop(k *storageKit) {
	const n = 40
	s := k.fresh()
	for i := range n {
		s.put(votedRecord(fmt.Sprintf("old%02d", i), 1, "v"))
	}
	seen := map[string]int{}
	i := 0
	for name := range s.undecided() {
		seen[name]++
		if i == n {
			continue // the rest of what was added since
		}
		large := decidedRecord(fmt.Sprintf("new%02d", i), 1, randomValue(uint64(i), 100<<10), uint64(2*i+2))
		b := paxos.Batch{Records: []paxos.Record{large}}
		if i%2 == 1 {
			b.Records = append(b.Records, decidedRecord(fmt.Sprintf("old%02d", i), 1, "v", uint64(2*i+1)))
		}
		if i > n/2 {
			b.Records = append(b.Records, promisedRecord(fmt.Sprintf("open%02d", i), 1))
		}
		i++
		b = s.counted(b)
		k.soon("Save in a loop over Undecided", func() error { return s.Save(b) })
		s.note(b)
		k.soon("Load in a loop over Undecided", func() error { return s.checkLoad(large.Instance, large) })
		k.soon("Decided in a loop over Undecided", func() error { _, err := s.Decided(0, 10); return err })
	}
	for i := range n {
		name := fmt.Sprintf("old%02d", i)
		if i%2 == 0 && seen[name] != 1 {
			k.Fatalf("Undecided lists %s, which was undecided all the time, %d times while Saves run", short(name), seen[name])
		}
	}
	for name, times := range seen {
		if _, ok := s.records[name]; times > 1 || !ok {
			k.Fatalf("Undecided lists %s %d times while Saves run; its record is %s", short(name), times, describe(s.records[name]))
		}
	}
	s.check()
	s.reopened().check()
}

// checkReadersBesideSave follows the decisions while they are saved, as a subscriber does. It misses none, and loads each. A record that
// Load has returned once is returned again.
func checkReadersBesideSave(k *storageKit) {
	s := k.fresh()
	saves := uint64(k.scaled(300))
	done := make(chan struct{})
	failed := make(chan error, 3)
	var readers sync.WaitGroup
	for range cap(failed) {
		readers.Go(func() { failed <- s.follow(done, 4*saves) })
	}
	stop := sync.OnceFunc(func() { close(done); readers.Wait() })
	defer stop()
	for i := range saves {
		state := s.state
		state.Last = 4*i + 4
		b := paxos.Batch{Server: &state, Records: []paxos.Record{votedRecord("open", i+1, paxos.Value(fmt.Sprint(i)))}}
		for _, j := range []uint64{3, 1, 4, 2} {
			b.Records = append(b.Records, decidedRecord(fmt.Sprint("n", 4*i+j), 1, "v", 4*i+j))
		}
		s.save(b)
	}
	stop()
	for range cap(failed) {
		if err := <-failed; err != nil {
			k.Fatalf("beside Saves: %v", err)
		}
	}
	s.check()
}

// follow reads decisions until done is closed, and then the rest. They must be those of the names n1, n2 and so on up to last.
func (s *testedStorage) follow(done chan struct{}, last uint64) error {
	round, index := uint64(0), uint64(0)
	for {
		stop := isClosed(done)
		runtime.Gosched() // a Save that has waited for the disk goes on soon
		r, err := s.Load("open")
		if err != nil || r.Acceptor.Promised.Round < round {
			return fmt.Errorf("Load(\"open\") = %s, %v, after round %d was loaded", describe(r), err, round)
		}
		round = r.Acceptor.Promised.Round
		if _, err := s.Server(); err != nil {
			return fmt.Errorf("Server: %w", err)
		}
		named, err := s.Decided(index, 10)
		if err != nil {
			return fmt.Errorf("Decided(%d, 10): %w", index, err)
		}
		for _, n := range named {
			index++
			want := decidedRecord(fmt.Sprint("n", index), 1, "v", index)
			if n != (paxos.Named{Instance: want.Instance, Index: index}) {
				return fmt.Errorf("Decided lists %s after index %d, which is another's: one was shown too early", describeNamed(n), index-1)
			}
			if err := s.checkLoad(n.Instance, want); err != nil {
				return fmt.Errorf("of what Decided lists: %w", err)
			}
		}
		if stop && len(named) == 0 {
			if index != last {
				return fmt.Errorf("Decided ends at index %d, want %d", index, last)
			}
			return nil
		}
	}
}

// checkConcurrentCalls makes every kind of call beside every other, above all for the race detector.
func checkConcurrentCalls(k *storageKit) {
	s := k.fresh()
	state := s.state
	for i := range 100 {
		s.put(votedRecord(fmt.Sprint("u", i), 1, "v"), decidedRecord(fmt.Sprint("d", i), 1, "v", uint64(i+1)))
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	calls := []func(i int) error{
		func(int) error { _, err := s.Server(); return err },
		func(i int) error { return s.checkLoad(fmt.Sprint("u", i), votedRecord(fmt.Sprint("u", i), 1, "v")) },
		func(i int) error { return s.checkLoad(fmt.Sprint("unknown", i), paxos.Record{}) },
		func(i int) error {
			named, err := s.Decided(uint64(i), 1)
			if err == nil && (len(named) != 1 || named[0].Index != uint64(i+1)) {
				err = fmt.Errorf("Decided(%d, 1) = %v", i, named)
			}
			return err
		},
		func(int) (err error) {
			n := 0
			for name, bad := range s.Undecided() {
				if err = errors.Join(err, bad); strings.HasPrefix(name, "u") {
					n++
				}
			}
			if err == nil && n != 100 {
				err = fmt.Errorf("Undecided lists %d names, want 100", n)
			}
			return err
		},
	}
	failed := make(chan error, 2*len(calls))
	for i := range cap(failed) {
		readers.Go(func() {
			var err error
			for n := i; err == nil && (n == i || !isClosed(done)); n++ {
				err = calls[i%len(calls)](n % 100)
				runtime.Gosched() // a Save that has waited for the disk goes on after at most one call of each reader
			}
			failed <- err
		})
	}
	stop := sync.OnceFunc(func() { close(done); readers.Wait() })
	defer stop()
	for i := range k.scaled(200) {
		state.Rounds++
		s.save(paxos.Batch{Server: &state, Drop: []paxos.NameRange{{From: "busy", To: "busz"}}, Records: []paxos.Record{
			promisedRecord("busy", uint64(i+1)), decidedRecord(fmt.Sprint("more", i), 1, "v", uint64(i+1000))}})
	}
	stop()
	for range cap(failed) {
		if err := <-failed; err != nil {
			k.Fatalf("beside Saves: %v", err)
		}
	}
	s.check()
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// checkSlices writes over whatever the caller owns once a call has returned.
func checkSlices(k *storageKit) {
	s := k.fresh()
	state := s.state
	records := make([]paxos.Record, 3)
	drop := make([]paxos.NameRange, 1)
	for i := range uint64(10) {
		state.Boot, state.Last = state.Boot+1, i+1
		records[0], records[1] = votedRecord(fmt.Sprint("v", i), 1, "v"), decidedRecord(fmt.Sprint("d", i), 1, "v", i+1)
		records[2], drop[0] = promisedRecord("p", i+1), paxos.NameRange{From: "x", To: "y"}
		s.save(paxos.Batch{Server: &state, Records: records, Drop: drop})
		for j := range records {
			records[j] = decidedRecord("overwritten by the caller", 99, "w", 99)
		}
		drop[0] = paxos.NameRange{From: "", To: "z"}
		state.Pulled = "overwritten by the caller"
		s.check()
		state.Pulled = s.state.Pulled
		named := s.decided(0, 100)
		for j := range named {
			named[j] = paxos.Named{Instance: "overwritten by the caller", Index: 99}
		}
		s.page(0, 100)
	}
	s.crashed().check()
	s.reopened().check()
}
