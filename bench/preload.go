package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/wal"
)

// preload writes n decided instances into the logs of all servers, as if they had decided them and had told each other. To decide ten
// million would take longer than the measurement.
func preload(dirs []string, m paxos.Members, n, size int) error {
	states := make([]paxos.ServerState, len(dirs))
	for i, dir := range dirs {
		log, err := wal.Open(dir, wal.Options{})
		if err != nil {
			return err
		}
		states[i], err = log.Server()
		if err := log.Close(); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
	errs := make([]error, len(dirs))
	var all sync.WaitGroup
	for i := range dirs {
		all.Go(func() { errs[i] = fill(dirs[i], pulled(states, i, n), n, size) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// pulled is the state of server i when it has all n decisions of all others: it need not ask for them.
func pulled(states []paxos.ServerState, i, n int) paxos.ServerState {
	state := states[i]
	state.Last = uint64(n)
	var from []string
	for _, s := range states {
		if s.ID != state.ID {
			from = append(from, fmt.Sprintf("%d/%x/%d", s.ID, s.Store, n))
		}
	}
	state.Pulled = strings.Join(from, ",")
	return state
}

// preloadPrefix begins the names of what was decided before, and no name of the driver.
const preloadPrefix = "x"

func preloadName(i int) string { return preloadPrefix + nameOf(uint64(i))[1:] }

// preloadBatch is how many records one Save writes.
const preloadBatch = 10_000

func fill(dir string, state paxos.ServerState, n, size int) error {
	log, err := wal.Open(dir, wal.Options{})
	if err != nil {
		return err
	}
	defer log.Close()
	value := paxos.Value(valuesFor(1, size)[0])
	ballot := paxos.Ballot{Round: 1, Server: 1}
	batch := paxos.Batch{Server: &state}
	for i := 1; i <= n; i++ {
		batch.Records = append(batch.Records, paxos.Record{Instance: preloadName(i), Chosen: true, Index: uint64(i),
			Acceptor: paxos.Acceptor{Promised: ballot, Accepted: ballot, Value: value}})
		if len(batch.Records) == preloadBatch || i == n {
			if err := log.Save(batch); err != nil {
				return err
			}
			batch.Records = batch.Records[:0]
		}
	}
	return rest(dir)
}

// rest waits until the log has written its hints, since it would go on with that beside the callers. All segments have one in the end, but
// for the one that is written to, and the next.
func rest(dir string) error {
	const most = time.Minute
	for began := time.Now(); time.Since(began) < most; time.Sleep(10 * time.Millisecond) {
		segments, err := filepath.Glob(filepath.Join(dir, "*.wal"))
		if err != nil {
			return err
		}
		hints, err := filepath.Glob(filepath.Join(dir, "*.hint"))
		if err != nil {
			return err
		}
		if len(segments) <= len(hints)+2 {
			return nil
		}
	}
	return fmt.Errorf("%s: segments still have no hints after %s", dir, most)
}
