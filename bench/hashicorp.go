package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
)

// A hashicorpWay is hashicorp/raft as it comes, or set for throughput: batches in the channel of proposals, and 512 entries
// in a message. Fast has it elect within 100 ms.
type hashicorpWay struct {
	name        string
	tuned, fast bool
}

func hashicorpContestants() (all []contestant) {
	for _, w := range []hashicorpWay{
		{"hashicorp/raft", false, false},
		{"hashicorp/raft, tuned", true, false},
		{"hashicorp/raft, 100 ms elections", true, true},
	} {
		all = append(all, contestant{name: w.name, start: w.start, variant: !w.tuned, at: func(at work) bool {
			if at.Change != "" {
				return at.replaces() && !at.Alone && w.tuned && !w.fast
			}
			return !at.Floor && at.Sweep == "" && (!at.Gap && !w.fast || at.Gap && w.fast == w.tuned)
		}})
	}
	return all
}

type hashicorpCluster struct {
	hashicorpWay
	setup   setup
	servers growing[*raft.Raft]
	inmem   []*raft.InmemTransport
	wire    []*raft.NetworkTransport
	logs    []*countedWAL
	gap     bool
	leader  atomic.Int64 // where callers are
	stopped atomic.Int64 // which server; -1: none
}

// A countedWAL counts the writes of a log: each is one fsync.
type countedWAL struct {
	*raftwal.WAL
	syncs atomic.Int64
}

func (w *countedWAL) StoreLog(l *raft.Log) error { return w.StoreLogs([]*raft.Log{l}) }

func (w *countedWAL) StoreLogs(logs []*raft.Log) error {
	w.syncs.Add(1)
	return w.WAL.StoreLogs(logs)
}

func (w hashicorpWay) start(s setup) (cluster, error) {
	c := &hashicorpCluster{hashicorpWay: w, setup: s, gap: s.Gap || s.Change != ""}
	c.stopped.Store(-1)
	transports, members, err := c.transports(s)
	for i := 0; err == nil && i < s.Servers; i++ {
		err = c.startServer(i, transports[i], members)
	}
	if err == nil {
		err = until("leader", c.findLeader)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (c *hashicorpCluster) transports(s setup) (all []raft.Transport, members raft.Configuration, err error) {
	for i := range s.Servers {
		var t raft.Transport
		if s.Disk {
			wire, err := raft.NewTCPTransport("127.0.0.1:0", nil, 4, 5*time.Second, io.Discard)
			if err != nil {
				return nil, members, err
			}
			c.wire, t = append(c.wire, wire), wire
		} else {
			_, inmem := raft.NewInmemTransport("")
			c.inmem, t = append(c.inmem, inmem), inmem
		}
		all = append(all, t)
		members.Servers = append(members.Servers, raft.Server{ID: hashicorpID(i), Address: t.LocalAddr()})
	}
	for _, from := range c.inmem {
		for _, to := range c.inmem {
			from.Connect(to.LocalAddr(), to)
		}
	}
	return all, members, nil
}

func hashicorpID(server int) raft.ServerID { return raft.ServerID(fmt.Sprint("n", server)) }

// startServer starts server i. If it is not one of members, it waits until it is added.
func (c *hashicorpCluster) startServer(i int, t raft.Transport, members raft.Configuration) error {
	w, s := c.hashicorpWay, c.setup
	config := raft.DefaultConfig()
	config.LocalID = hashicorpID(i)
	config.Logger = hclog.NewNullLogger()
	if !c.gap { // else the default, 1 s: this shortens the wait for the first leader, who needs a quorum every 500 ms anyway
		config.HeartbeatTimeout, config.ElectionTimeout = 500*time.Millisecond, 500*time.Millisecond
	}
	if w.tuned {
		config.BatchApplyCh = true
		config.MaxAppendEntries = 512
	}
	if w.fast {
		config.HeartbeatTimeout, config.ElectionTimeout, config.LeaderLeaseTimeout = 100*time.Millisecond, 100*time.Millisecond, 50*time.Millisecond
	}
	inmem := raft.NewInmemStore()
	var logs raft.LogStore = inmem
	var stable raft.StableStore = inmem
	if s.Disk {
		dir, err := makeDir(s.dir, i)
		if err != nil {
			return err
		}
		log, err := raftwal.Open(dir, raftwal.WithLogger(config.Logger))
		if err != nil {
			return err
		}
		counted := &countedWAL{WAL: log}
		c.logs = append(c.logs, counted)
		logs, stable = counted, counted
	}
	snapshots := raft.NewInmemSnapshotStore()
	if i < len(members.Servers) {
		if err := raft.BootstrapCluster(config, logs, stable, snapshots, t, members); err != nil {
			return err
		}
	}
	server, err := raft.NewRaft(config, &hashicorpMachine{names: map[string][]byte{}}, logs, stable, snapshots, t)
	if err == nil {
		c.servers.add(server)
	}
	return err
}

func (c *hashicorpCluster) findLeader() bool {
	for i, server := range c.servers.get() {
		if int64(i) != c.stopped.Load() && server.State() == raft.Leader {
			c.leader.Store(int64(i))
			return true
		}
	}
	return false
}

func (c *hashicorpCluster) propose(ctx context.Context, _ int, name, value string) error {
	if !c.gap {
		return c.servers.get()[c.leader.Load()].Apply(command(name, value), 10*time.Second).Error()
	}
	if !c.findLeader() {
		return errNoLeader
	}
	// A server that stops may never answer its calls.
	answer := make(chan error, 1)
	future := c.servers.get()[c.leader.Load()].Apply(command(name, value), time.Second)
	go func() { answer <- future.Error() }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stopOne stops the leader, the network first, so that it can't hand over.
func (c *hashicorpCluster) stopOne() {
	if !c.findLeader() {
		return
	}
	i := c.leader.Load()
	c.stopped.Store(i)
	if c.wire != nil {
		c.wire[i].Close()
	} else {
		for _, t := range c.inmem {
			t.Disconnect(c.inmem[i].LocalAddr())
		}
		c.inmem[i].DisconnectAll()
	}
	go c.servers.get()[i].Shutdown()
}

func (c *hashicorpCluster) counts() counts {
	if c.logs == nil {
		return unknownCounts
	}
	total := counts{messages: -1}
	for _, log := range c.logs {
		total.syncs += log.syncs.Load()
	}
	return total
}

// A hashicorpMachine keeps the first value of each name.
type hashicorpMachine struct {
	mu    sync.Mutex
	names map[string][]byte
}

func (m *hashicorpMachine) Apply(l *raft.Log) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	keepFirst(m.names, l.Data)
	return nil
}

func (m *hashicorpMachine) Snapshot() (raft.FSMSnapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return hashicorpSnapshot(maps.Clone(m.names)), nil
}

func (m *hashicorpMachine) Restore(r io.ReadCloser) error {
	defer r.Close()
	names, err := readNames(bufio.NewReaderSize(r, 1<<20))
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names = names
	return nil
}

// A hashicorpSnapshot is written while the machine goes on.
type hashicorpSnapshot map[string][]byte

func (s hashicorpSnapshot) Persist(sink raft.SnapshotSink) error {
	if err := writeNames(sink, s); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (s hashicorpSnapshot) Release() {}
