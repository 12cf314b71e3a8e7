package main

import (
	"context"
	"encoding/binary"
	"io"
	"log"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// etcd-io/raft comes without storage and network. It runs with its own storage in memory, and a queue for each server,
// which the one goroutine that owns its RawNode empties as a whole.
func etcdRaftContestants() []contestant {
	return []contestant{{name: "etcd-io/raft", start: startEtcdRaft, at: func(at work) bool {
		return !at.Floor && at.Sweep == "" && !at.Disk && !at.Gap
	}}}
}

type etcdRaftCluster struct {
	servers []*etcdRaftServer

	mu      sync.Mutex
	waiting map[uint64]chan struct{} // by the number of the call, with which the command begins
	calls   uint64
}

const callBytes = 8

type etcdRaftServer struct {
	cluster *etcdRaftCluster
	node    *raft.RawNode
	storage *raft.MemoryStorage
	names   map[string][]byte
	leads   atomic.Bool
	wake    chan struct{}

	mu       sync.Mutex
	messages []*raftpb.Message
	commands [][]byte
}

func startEtcdRaft(s setup) (cluster, error) {
	raft.SetLogger(&raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)})
	c := &etcdRaftCluster{waiting: map[uint64]chan struct{}{}}
	var peers []raft.Peer
	for i := range s.Servers {
		peers = append(peers, raft.Peer{ID: uint64(i + 1)})
	}
	for _, p := range peers {
		server := &etcdRaftServer{cluster: c, storage: raft.NewMemoryStorage(), names: map[string][]byte{}, wake: make(chan struct{}, 1)}
		var err error
		server.node, err = raft.NewRawNode(&raft.Config{ID: p.ID, ElectionTick: 10, HeartbeatTick: 1, Storage: server.storage,
			MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 256})
		if err != nil {
			return nil, err
		}
		if err := server.node.Bootstrap(peers); err != nil {
			return nil, err
		}
		c.servers = append(c.servers, server)
	}
	for _, server := range c.servers {
		go server.loop()
	}
	if err := until("leader", func() bool { return c.leader() != nil }); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *etcdRaftCluster) leader() *etcdRaftServer {
	for _, s := range c.servers {
		if s.leads.Load() {
			return s
		}
	}
	return nil
}

func (s *etcdRaftServer) loop() {
	tick := time.NewTicker(100 * time.Millisecond)
	for {
		for s.node.HasReady() {
			ready := s.node.Ready()
			s.handle(ready)
			s.node.Advance(ready)
		}
		select {
		case <-tick.C:
			s.node.Tick()
		case <-s.wake:
			s.mu.Lock()
			messages, commands := s.messages, s.commands
			s.messages, s.commands = nil, nil
			s.mu.Unlock()
			for _, m := range messages {
				s.node.Step(m)
			}
			for _, command := range commands {
				s.node.Propose(command)
			}
		}
	}
}

// handle stores, then sends, then applies, as the package says.
func (s *etcdRaftServer) handle(ready raft.Ready) {
	if ready.SoftState != nil {
		s.leads.Store(ready.SoftState.RaftState == raft.StateLeader)
	}
	if !raft.IsEmptyHardState(ready.HardState) {
		s.storage.SetHardState(ready.HardState)
	}
	s.storage.Append(ready.Entries)
	for _, m := range ready.Messages {
		to := s.cluster.servers[m.GetTo()-1]
		to.mu.Lock()
		to.messages = append(to.messages, m)
		to.mu.Unlock()
		to.poke()
	}
	for _, e := range ready.CommittedEntries {
		s.apply(e)
	}
	// As users must, it keeps the log short.
	if n := len(ready.CommittedEntries); n > 0 {
		if last := ready.CommittedEntries[n-1].GetIndex(); last > 20_000 && last%10_000 < uint64(n) {
			s.storage.Compact(last - 10_000)
		}
	}
}

func (s *etcdRaftServer) apply(e *raftpb.Entry) {
	data := e.GetData()
	if e.GetType() == raftpb.EntryConfChange {
		var change raftpb.ConfChange
		if proto.Unmarshal(data, &change) == nil {
			s.node.ApplyConfChange(&change)
		}
		return
	}
	if len(data) < callBytes {
		return // a leader begins its term with an empty one
	}
	keepFirst(s.names, data[callBytes:])
	if s.leads.Load() {
		s.cluster.decided(data)
	}
}

func (s *etcdRaftServer) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (c *etcdRaftCluster) decided(command []byte) {
	c.mu.Lock()
	call := binary.BigEndian.Uint64(command)
	done := c.waiting[call]
	delete(c.waiting, call)
	c.mu.Unlock()
	if done != nil {
		done <- struct{}{}
	}
}

func (c *etcdRaftCluster) propose(ctx context.Context, _ int, name, value string) error {
	leader, done := c.leader(), make(chan struct{}, 1)
	if leader == nil {
		return errNoLeader
	}
	c.mu.Lock()
	c.calls++
	call := c.calls
	c.waiting[call] = done
	c.mu.Unlock()
	b := make([]byte, callBytes, callBytes+len(name)+len(value))
	binary.BigEndian.PutUint64(b, call)
	b = append(append(b, name...), value...)
	leader.mu.Lock()
	leader.commands = append(leader.commands, b)
	leader.mu.Unlock()
	leader.poke()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *etcdRaftCluster) stopOne() {}

func (c *etcdRaftCluster) counts() counts { return unknownCounts }
