package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/tcp"
	"github.com/singledecree/paxos/wal"
)

// A way is how callers ask for a decision: another one is another contestant.
type way struct {
	name   string
	spread bool // evenly over the servers; else all at the first
	fresh  bool // each for a name of its own
	off    bool // no server takes a standing ballot by itself, and none forwards
	asked  bool // the first server is asked to take one
	ask    func(ctx context.Context, n *node.Node, name, value string) error
}

func paxosContestants() (all []contestant) {
	for _, w := range []way{
		{name: "paxos", ask: named},
		{name: "paxos, spread", spread: true, ask: named},
		{name: "paxos, nothing forwarded, spread", spread: true, off: true, asked: true, ask: named},
		{name: "paxos, nobody stands", off: true, ask: named},
		{name: "paxos, nobody stands, spread", spread: true, off: true, ask: named},
		{name: "paxos, minted", fresh: true, ask: minted},
		{name: "paxos, minted, spread", spread: true, fresh: true, ask: minted},
	} {
		all = append(all, contestant{name: w.name, ours: true, start: w.start, at: func(at work) bool {
			switch {
			case at.Floor || at.Change == changeLeader:
				return false
			case (w.fresh || w.off) && (at.Varied || at.Contended || at.Gap || at.Change != "" || at.Sweep != ""):
				return false // nobody else asks for a fresh name; and once is enough
			case at.Gap || at.Change != "":
				return w.spread // where the callers are does not depend on who stands
			default:
				return at.Servers > 1 || !w.spread
			}
		}})
	}
	return all
}

// named is a Propose of a name of the caller's own. It takes one round trip at a server that stands, and two at others.
func named(ctx context.Context, n *node.Node, name, value string) error {
	_, err := n.Propose(ctx, name, paxos.Value(value))
	return err
}

// minted is a Propose of a fresh name, which the server that is asked owns: one round trip.
func minted(ctx context.Context, n *node.Node, _, value string) error {
	name, err := n.Mint("")
	if err == nil {
		_, err = n.Propose(ctx, name, paxos.Value(value))
	}
	return err
}

// A paxosCluster is the servers of one cluster, in this process.
type paxosCluster struct {
	way
	setup      setup
	members    paxos.Members             // with which it began
	addrs      map[paxos.ServerID]string // none in memory
	nodes      growing[*node.Node]
	transports []*tcp.Transport // none in memory
	gates      []*gate          // before them, where a server may stand still; else none
	logs       []*syncCounter   // likewise
	stopped    atomic.Int64     // which server; -1: none
	perDecided float64
	left       atomic.Bool // the last server is no member any more
	moved      atomic.Bool // and its callers are at the new one
}

// A syncCounter counts the Saves of a log: each is one fdatasync.
type syncCounter struct {
	*wal.Log
	syncs atomic.Int64
}

func (c *syncCounter) Save(b paxos.Batch) error {
	c.syncs.Add(1)
	return c.Log.Save(b)
}

// Self returns c, as the reads that a Log answers at once are c's, too: see paxos.PromptStorage.
func (c *syncCounter) Self() paxos.Storage { return c }

func (w way) start(s setup) (cluster, error) {
	c := &paxosCluster{way: w, setup: s, members: paxos.Members{Cluster: "bench"}, addrs: map[paxos.ServerID]string{}}
	c.stopped.Store(-1)
	for i := range s.Servers {
		c.members.Acceptors = append(c.members.Acceptors, paxos.ServerID(i+1))
	}
	var err error
	if s.Disk {
		err = c.startDurable()
	} else {
		err = c.startMemory(c.members)
	}
	if err == nil {
		for _, n := range c.nodes.get() {
			err = errors.Join(err, n.Ready(context.Background()))
		}
	}
	if err == nil && c.asked {
		err = c.stands(context.Background(), 0)
	}
	if err != nil {
		return nil, err
	}
	if s.Decided > 0 {
		c.rest()
	}
	return c, nil
}

// rest waits until the logs have prepared their next segments, which are large where much was written before, and have
// nothing to do any more.
func (c *paxosCluster) rest() {
	for last := int64(-1); ; {
		total := int64(0)
		for _, log := range c.logs {
			total += log.Stats().Bytes
		}
		if total == last {
			break
		}
		last = total
		time.Sleep(time.Second)
	}
	settle()
}

func (c *paxosCluster) startNode(m paxos.Members, id paxos.ServerID, s paxos.Storage, t paxos.Transport) error {
	n, err := node.Start(context.Background(), node.Config{ID: id, Members: m, Storage: s, Transport: t, NoStanding: c.off})
	if err == nil {
		c.nodes.add(n)
	}
	return err
}

// startMemory hands over the storages as they are: a Node knows them, and saves without a goroutine.
func (c *paxosCluster) startMemory(m paxos.Members) error {
	network := memory.NewNetwork()
	for _, id := range m.Acceptors {
		storage := memory.NewStorage()
		if err := paxos.Format(storage, id, m); err != nil {
			return err
		}
		if err := c.startNode(m, id, storage, network.Join(id)); err != nil {
			return err
		}
	}
	return nil
}

func (c *paxosCluster) startDurable() error {
	if err := c.openLogs(c.setup, c.members); err != nil {
		return err
	}
	listeners := make([]net.Listener, len(c.members.Acceptors))
	for i, id := range c.members.Acceptors {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		listeners[i], c.addrs[id] = l, l.Addr().String()
	}
	for i, id := range c.members.Acceptors {
		if err := c.startOnDisk(c.members, id, c.logs[i], listeners[i]); err != nil {
			return err
		}
	}
	return nil
}

// startOnDisk starts a server that knows the addresses of those that began.
func (c *paxosCluster) startOnDisk(m paxos.Members, id paxos.ServerID, log paxos.Storage, l net.Listener) error {
	others := map[paxos.ServerID]string{}
	for _, peer := range c.members.Acceptors {
		if peer != id {
			others[peer] = c.addrs[peer]
		}
	}
	t, err := tcp.Listen(tcp.Config{ID: id, Members: m, Listener: l, Peers: others, Plain: true})
	if err != nil {
		return err
	}
	c.transports = append(c.transports, t)
	if !c.setup.Frozen {
		return c.startNode(m, id, log, t)
	}
	g := &gate{Transport: t}
	c.gates = append(c.gates, g)
	return c.startNode(m, id, log, g)
}

// openLogs creates the logs, fills them with what was decided before, and opens them, with an eye on the memory.
func (c *paxosCluster) openLogs(s setup, m paxos.Members) error {
	dirs := make([]string, s.Servers)
	for i, id := range m.Acceptors {
		dirs[i] = filepath.Join(s.dir, fmt.Sprint(id))
		if err := wal.Create(dirs[i], id, m); err != nil {
			return err
		}
	}
	if s.Decided > 0 {
		if err := preload(dirs, m, s.Decided, s.Value); err != nil {
			return err
		}
	}
	settle()
	before := heapInUse()
	for _, dir := range dirs {
		log, err := wal.Open(dir, wal.Options{})
		if err != nil {
			return err
		}
		c.logs = append(c.logs, &syncCounter{Log: log})
	}
	if s.Decided >= leastDecided {
		c.perDecided = float64(heapInUse()-before) / float64(s.Decided*s.Servers)
	}
	return nil
}

// leastDecided is how many decisions it takes to tell their memory from what a log needs anyway.
const leastDecided = 100_000

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

func (c *paxosCluster) propose(ctx context.Context, caller int, name, value string) error {
	nodes, server := c.nodes.get(), 0
	if c.spread {
		server = caller % c.setup.Servers
	}
	switch {
	case int64(server) == c.stopped.Load():
		server = (server + 1) % len(nodes)
	case server < c.setup.Servers-1:
	case c.moved.Load():
		server = c.setup.Servers // the new one
	case c.left.Load():
		server = caller / c.setup.Servers % (c.setup.Servers - 1)
	}
	err := c.ask(ctx, nodes[server], name, value)
	if errors.Is(err, paxos.ErrNotMember) && server == c.setup.Servers-1 {
		c.left.Store(true)
		return c.propose(ctx, caller, name, value)
	}
	return err
}

// stopOne stops the server that stands, else the first. It closes the network first, so that the others hear nothing of it: that is what
// they notice of a kill -9.
func (c *paxosCluster) stopOne() {
	which := max(0, c.standing())
	c.stopped.Store(int64(which))
	if c.gates != nil {
		c.gates[which].freeze()
		return
	}
	if c.transports != nil {
		c.transports[which].Close()
	}
	go c.nodes.get()[which].Close()
}

func (c *paxosCluster) counts() counts {
	total := counts{syncs: -1, perDecided: c.perDecided}
	for _, n := range c.nodes.get() {
		for _, sent := range n.Status().Counters.Sent {
			total.messages += int64(sent)
		}
	}
	if c.logs != nil {
		total.syncs = 0
		for _, log := range c.logs {
			total.syncs += log.syncs.Load()
		}
	}
	return total
}
