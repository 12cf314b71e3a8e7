package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/logger"
	channel "github.com/lni/dragonboat/v4/plugin/chan"
	"github.com/lni/dragonboat/v4/plugin/tan"
	"github.com/lni/dragonboat/v4/statemachine"
	"github.com/lni/vfs"
)

// A dragonboatWay is dragonboat with one group, on one of its logs. rtt is what it counts time in: an election takes 10 to
// 20 of it. Its documentation says 200 ms; 50 shortens the wait for the first leader.
type dragonboatWay struct {
	name   string
	rtt    uint64 // milliseconds
	tan    bool
	onlyAt func(work) bool
}

func dragonboatContestants() (all []contestant) {
	for _, w := range []dragonboatWay{
		{"dragonboat", 50, false, func(at work) bool { return !at.Disk }},
		{"dragonboat, pebble", 50, false, func(at work) bool { return at.Disk && !at.Gap && at.Change == "" }},
		{"dragonboat, tan", 50, true, func(at work) bool { return at.Disk && !at.Gap && (at.Change == "" || at.replaces() && !at.Alone) }},
		{"dragonboat, 2 s elections", 200, true, func(at work) bool { return at.Gap }},
		{"dragonboat, 100 ms elections", 10, true, func(at work) bool { return at.Gap }},
	} {
		all = append(all, contestant{name: w.name, start: w.start, variant: w.tan, at: func(at work) bool {
			return !at.Floor && at.Sweep == "" && w.onlyAt(at)
		}})
	}
	return all
}

type dragonboatCluster struct {
	dragonboatWay
	setup   setup
	hosts   growing[*dragonboat.NodeHost]
	applied [maxServers + 1]atomic.Int64 // by server: the names that it holds
	gap     bool
	leader  atomic.Int64
	stopped atomic.Int64 // which server; -1: none
}

const (
	dragonboatShard = 1
	maxServers      = 9
)

// channelTransport is dragonboat's own transport for tests, over channels; its Validate panics.
type channelTransport struct{ channel.ChanTransportFactory }

func (channelTransport) Validate(string) bool { return true }

func (w dragonboatWay) start(s setup) (cluster, error) {
	for _, name := range []string{"raft", "rsm", "transport", "grpc", "dragonboat", "logdb", "config", "raftpb", "pebblekv", "tan",
		"settings", "id", "utils", "server", "registry"} {
		logger.GetLogger(name).SetLevel(logger.CRITICAL)
	}
	c := &dragonboatCluster{dragonboatWay: w, setup: s, gap: s.Gap || s.Change != ""}
	c.stopped.Store(-1)
	members := map[uint64]dragonboat.Target{}
	for i := range s.Servers {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		members[uint64(i+1)] = addr
	}
	var err error
	for i := 0; err == nil && i < s.Servers; i++ {
		err = c.startServer(i, members[uint64(i+1)], members)
	}
	if err == nil {
		err = until("leader", c.findLeader)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// startServer starts server i. If there are no members, it joins those to which it was added.
func (c *dragonboatCluster) startServer(i int, addr string, members map[uint64]dragonboat.Target) error {
	w, s := c.dragonboatWay, c.setup
	dir, err := makeDir(s.dir, i)
	if err != nil {
		return err
	}
	id := uint64(i + 1)
	host := config.NodeHostConfig{NodeHostDir: dir, RTTMillisecond: w.rtt, RaftAddress: addr}
	switch {
	case !s.Disk:
		host.Expert.FS = vfs.NewMem()
		host.Expert.TransportFactory = &channelTransport{}
	case w.tan:
		host.Expert.LogDBFactory = tan.Factory
	}
	h, err := dragonboat.NewNodeHost(host)
	if err != nil {
		return err
	}
	c.hosts.add(h)
	machine := func(uint64, uint64) statemachine.IStateMachine {
		return &dragonboatMachine{map[string][]byte{}, &c.applied[i]}
	}
	return h.StartReplica(members, len(members) == 0, machine, config.Config{ReplicaID: id, ShardID: dragonboatShard, ElectionRTT: 10, HeartbeatRTT: 1, CheckQuorum: true})
}

func (c *dragonboatCluster) findLeader() bool {
	for i, h := range c.hosts.get() {
		if int64(i) == c.stopped.Load() {
			continue
		}
		id, _, ok, err := h.GetLeaderID(dragonboatShard)
		if leader := int64(id) - 1; err == nil && ok && leader != c.stopped.Load() {
			c.leader.Store(leader)
			return true
		}
	}
	return false
}

func (c *dragonboatCluster) propose(ctx context.Context, _ int, name, value string) error {
	timeout := 10 * time.Second
	if c.gap {
		if timeout = time.Second; !c.findLeader() {
			return errNoLeader
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	host := c.hosts.get()[c.leader.Load()]
	for {
		_, err := host.SyncPropose(ctx, host.GetNoOPSession(dragonboatShard), command(name, value))
		if c.gap || !errors.Is(err, dragonboat.ErrSystemBusy) && !errors.Is(err, dragonboat.ErrShardNotReady) {
			return err
		}
		time.Sleep(time.Millisecond) // as it asks for
	}
}

func (c *dragonboatCluster) stopOne() {
	if !c.findLeader() {
		return
	}
	i := c.leader.Load()
	c.stopped.Store(i)
	go c.hosts.get()[i].Close()
}

func (c *dragonboatCluster) counts() counts { return unknownCounts }

// A dragonboatMachine keeps the first value of each name.
type dragonboatMachine struct {
	names map[string][]byte
	held  *atomic.Int64 // how many names
}

// Update may not keep hold of the command.
func (m *dragonboatMachine) Update(e statemachine.Entry) (statemachine.Result, error) {
	keepFirst(m.names, slices.Clone(e.Cmd))
	m.held.Store(int64(len(m.names)))
	return statemachine.Result{}, nil
}

func (m *dragonboatMachine) Lookup(any) (any, error) { return nil, nil }

// SaveSnapshot is called before a change only: dragonboat has no snapshots of its own accord.
func (m *dragonboatMachine) SaveSnapshot(w io.Writer, _ statemachine.ISnapshotFileCollection, _ <-chan struct{}) error {
	return writeNames(w, m.names)
}

func (m *dragonboatMachine) RecoverFromSnapshot(r io.Reader, _ []statemachine.SnapshotFile, _ <-chan struct{}) (err error) {
	m.names, err = readNames(bufio.NewReaderSize(r, 1<<20))
	m.held.Store(int64(len(m.names)))
	return err
}

func (m *dragonboatMachine) Close() error { return nil }
