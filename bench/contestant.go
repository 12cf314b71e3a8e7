package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// A contestant is one way to agree on named values, set up in one way.
type contestant struct {
	name string
	// at says which work it can do.
	at func(w work) bool
	// start starts all servers. dir is its own, and exists.
	start func(s setup) (cluster, error)
	ours  bool
	// floor says that it is no library: no ratio is taken to it as a peer.
	floor bool
	// variant is not needed where only one thing is varied: another setting of the same peer is there.
	variant bool
}

// A setup is what a contestant needs to know to start.
type setup struct {
	work
	dir string
}

// A cluster is a contestant that runs. It is never closed: its process ends.
type cluster interface {
	// propose returns once a value is decided for name, and the caller's server knows it. That is value, unless another one was proposed
	// first. It chooses the server for the caller: the leader, where there is one. Callers are counted from 0.
	propose(ctx context.Context, caller int, name, value string) error
	// stopOne stops one server without notice, the leader where there is one, and returns at once.
	stopOne()
	counts() counts
}

// counts are totals since the start, over all servers; negative: not known.
type counts struct {
	syncs, messages int64
	perDecided      float64 // bytes of memory per instance decided before the start, and server; 0: not known
}

var unknownCounts = counts{syncs: -1, messages: -1}

// contestants are all of them, in the order in which they are shown.
func contestants() []contestant {
	return slices.Concat(paxosContestants(), etcdRaftContestants(), hashicorpContestants(), dragonboatContestants(), etcdContestants(),
		carryContestants(), floorContestants())
}

func contestantNamed(name string) (contestant, error) {
	all := contestants()
	i := slices.IndexFunc(all, func(c contestant) bool { return c.name == name })
	if i < 0 {
		return contestant{}, errors.New("no contestant is named " + name)
	}
	return all[i], nil
}

// jobs pairs works with all contestants that can do them and that only, if not nil, matches.
func jobs(works []work, only *regexp.Regexp, warm, window time.Duration) (all []job) {
	for _, w := range works {
		for _, c := range contestants() {
			j := job{Work: w, Contestant: c.name, Ours: c.ours, Floor: c.floor, Warm: warm, Window: window}
			if c.at(w) && !(w.Varied && c.variant) && (c.ours || !w.Frozen) && (only == nil || only.MatchString(j.id())) {
				all = append(all, j)
			}
		}
	}
	return all
}

// until polls ready until it is true, for 30 s at most.
func until(what string, ready func() bool) error {
	for range 6000 {
		if ready() {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("after 30 s there is no " + what)
}

// A command is what the peers agree on: a name, and the value for it if it has none.
func command(name, value string) []byte {
	return append(append(make([]byte, 0, nameBytes+len(value)), name...), value...)
}

const nameBytes = 16

// keepFirst applies a command to what a peer's state machine holds, and keeps hold of it.
func keepFirst(names map[string][]byte, command []byte) {
	if _, ok := names[string(command[:nameBytes])]; !ok {
		names[string(command[:nameBytes])] = command[nameBytes:]
	}
}

// makeDir makes a directory for one server.
func makeDir(parent string, server int) (string, error) {
	dir := filepath.Join(parent, strconv.Itoa(server))
	return dir, os.MkdirAll(dir, 0o755)
}

// freeAddr returns an address of loopback that nobody listens on, for those that must be told one.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

var errNoLeader = errors.New("no server leads")
