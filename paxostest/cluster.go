package paxostest

import (
	"cmp"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
)

// A ClusterConfig describes a [Cluster]. The zero value means three servers that vote, on a perfect network and on disks that take no
// time.
type ClusterConfig struct {
	// Servers is the number of servers that vote, 1 to 64. Their ServerIDs are 1 to Servers. 0 means 3, or the Acceptors of Members if
	// there are any.
	Servers int
	// Members says more of the servers: their ServerIDs, which of them are learners, and the quorum. No Acceptors means those of
	// Servers. An empty Cluster means "test".
	Members paxos.Members
	// Network says how unreliable the network is. Its Seed also decides the random waits of the Nodes. 0 means a random one.
	Network NetworkConfig
	// SaveTime is how long a disk takes for each Save.
	SaveTime time.Duration
	// Limits and Timing are those of each Node: see [node.Config].
	Limits paxos.Limits
	Timing paxos.Timing
	// Node, if not nil, changes the node.Config of each Node before it starts, also at later starts. Without a Logger, the lines of the
	// log are output of the test.
	Node func(c *node.Config)
}

// A Cluster is a cluster for the test of a service: real Nodes in one process, on a network and on disks that the test controls.
//
//	func TestService(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			c := paxostest.NewCluster(t, paxostest.ClusterConfig{Network: paxostest.NetworkConfig{Loss: 0.1, Delay: time.Millisecond}})
//			…                        // the service makes calls of c.Node(1)
//			c.Network.Isolate(2)     // a partition; Heal ends it
//			c.Disk(3).Hang()         // a disk that does not answer; Release ends it
//			c.Crash(1)               // the power goes
//			…
//			c.Start(1)               // it comes back, with what was on its disk
//		})
//	}
//
// In a testing/synctest bubble, time costs nothing. Without one, all works as well, in real time. The tests of examples/commit and
// examples/config of this module show more.
//
// The methods are safe for concurrent use, and so are those of Network and of the disks.
type Cluster struct {
	// Network joins the servers. It also loses, delays, repeats and cuts off packets.
	Network *Network

	tb      testing.TB
	log     *slog.Logger
	config  ClusterConfig
	members paxos.Members // with which it began
	lives   sync.WaitGroup

	mu       sync.Mutex
	servers  map[paxos.ServerID]*clusterServer
	triggers []*trigger
}

// NewCluster starts a cluster. First it logs the seed of the network. When the test ends, the Nodes are closed. The test fails if a Node
// stops by itself, but for a [Failure] of its disk, or if it finds that the protocol was broken.
func NewCluster(tb testing.TB, config ClusterConfig) *Cluster {
	tb.Helper()
	for config.Network.Seed == 0 {
		config.Network.Seed = rand.Uint64()
	}
	tb.Logf("paxostest: NetworkConfig.Seed: %d", config.Network.Seed)
	config.Members.Cluster = cmp.Or(config.Members.Cluster, "test")
	servers := memory.Config{Servers: config.Servers, Members: config.Members}.WithDefaults()
	if err := servers.Check(); err != nil {
		tb.Fatalf("paxostest: Cluster%v", err)
	}
	if err := config.Network.Check(); err != nil {
		tb.Fatalf("paxostest: ClusterConfig.Network.%v", err)
	}
	members := servers.Members
	log := slog.New(slog.NewTextHandler(tb.Output(), nil))
	c := &Cluster{Network: NewNetwork(config.Network), tb: tb, log: log, config: config, members: members, servers: map[paxos.ServerID]*clusterServer{}}
	tb.Cleanup(c.close)
	for _, id := range slices.Concat(members.Acceptors, members.Learners) {
		c.add(id, members)
	}
	return c
}

// Add starts a new server, under a ServerID that the cluster never had. It is no member until [node.Node.Change] makes it one.
func (c *Cluster) Add(id paxos.ServerID) *node.Node {
	c.tb.Helper()
	m := c.members
	m.Learners = []paxos.ServerID{id}
	return c.add(id, m)
}

func (c *Cluster) add(id paxos.ServerID, m paxos.Members) *node.Node {
	c.tb.Helper()
	c.mu.Lock()
	there := c.servers[id] != nil
	c.mu.Unlock()
	if there {
		c.tb.Fatalf("paxostest: server %d is there already", id)
	}
	s, err := newClusterServer(id, m, c.config.SaveTime, c.log)
	if err != nil {
		c.tb.Fatalf("paxostest: %v", err)
	}
	c.mu.Lock()
	c.servers[id] = s
	c.mu.Unlock()
	return c.Start(id)
}

// server returns a server, or ends the test if there is none.
func (c *Cluster) server(id paxos.ServerID) *clusterServer {
	c.tb.Helper()
	c.mu.Lock()
	s := c.servers[id]
	c.mu.Unlock()
	if s == nil {
		c.tb.Fatalf("paxostest: there is no server %d", id)
	}
	return s
}

// Node returns the latest Node of a server. After the server went down, calls of that Node return errors.
func (c *Cluster) Node(id paxos.ServerID) *node.Node {
	c.tb.Helper()
	life, _ := c.server(id).now()
	return life.node
}

// Disk returns the storage of a server, to be slowed, hung or failed. After a crash the server has a new one, without the Delays and
// Failures of the one before. To crash it, use [Cluster.Crash].
func (c *Cluster) Disk(id paxos.ServerID) *CrashStorage {
	c.tb.Helper()
	_, disk := c.server(id).now()
	return disk
}

// Start starts a server that is down, on its disk, and returns its Node. If the server runs, Start only returns its Node.
func (c *Cluster) Start(id paxos.ServerID) *node.Node {
	c.tb.Helper()
	s := c.server(id)
	s.changing.Lock()
	defer s.changing.Unlock()
	if life, _ := s.now(); life.runs() {
		return life.node
	}
	life := &clusterLife{killed: make(chan struct{})}
	disk := s.begins()
	n, err := node.Start(c.tb.Context(), c.nodeConfig(s, life, disk))
	if err != nil {
		c.tb.Fatalf("paxostest: server %d does not start: %v", id, err)
	}
	life.node = n
	s.begun(life)
	c.lives.Go(func() { c.watch(id, life, disk) })
	return n
}

// nodeConfig returns the Config of a Node that starts.
func (c *Cluster) nodeConfig(s *clusterServer, life *clusterLife, disk *CrashStorage) node.Config {
	end := &clusterEnd{Transport: c.Network.Join(s.id), id: s.id, killed: life.killed, sent: c.sent}
	config := node.Config{ID: s.id, Members: s.members, Storage: disk, Transport: end, Limits: c.config.Limits, Timing: c.config.Timing,
		Seed: c.config.Network.Seed ^ uint64(s.id)}
	if c.config.Node != nil {
		c.config.Node(&config)
	}
	if config.Logger == nil {
		config.Logger = c.log
	}
	return config
}

// watch waits for the end of a Node, and has the test fail if that is an error.
func (c *Cluster) watch(id paxos.ServerID, life *clusterLife, disk *CrashStorage) {
	select {
	case <-life.killed:
		life.node.Close()
	case <-life.node.Done():
	}
	if err := life.node.Err(); err != nil && !errors.Is(err, ErrCrashed) && !disk.hasFailed() {
		c.tb.Errorf("paxostest: server %d has stopped: %v", id, err)
	}
	for _, err := range life.node.Status().Broken {
		c.tb.Errorf("paxostest: server %d: %v", id, err)
	}
}

// sent is told of each packet that left.
func (c *Cluster) sent(p paxos.Packet) {
	c.mu.Lock()
	var hit []*clusterServer
	c.triggers = slices.DeleteFunc(c.triggers, func(t *trigger) bool {
		hits := slices.ContainsFunc(p.Messages, func(m paxos.Message) bool { return t.hits(p.From, p.To, m) })
		if hits {
			hit = append(hit, t.kills)
		}
		return hits
	})
	c.mu.Unlock()
	for _, s := range hit {
		s.kill("crash on a message")
	}
}

// close ends all servers at the end of the test.
func (c *Cluster) close() {
	c.mu.Lock()
	ids := slices.Sorted(maps.Keys(c.servers))
	c.mu.Unlock()
	for _, id := range ids {
		c.server(id).kill("the test ends")
	}
	c.lives.Wait()
}
