package paxostest

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// A clusterServer is one server of a Cluster, over all its lives.
type clusterServer struct {
	id      paxos.ServerID
	members paxos.Members // of its Node
	saves   time.Duration // how long a Save takes
	log     *slog.Logger

	changing sync.Mutex // one start or end that the test asks for at a time

	mu   sync.Mutex // nobody waits while it holds it
	disk *CrashStorage
	life *clusterLife // the latest; nil before the first
}

// A clusterLife is a server from a start to its end.
type clusterLife struct {
	node   *node.Node
	killed chan struct{} // closed when the power is off
	ended  atomic.Bool   // the test has ended it
}

// runs reports whether neither the test has ended the life, nor the Node itself.
func (l *clusterLife) runs() bool {
	if l == nil || l.ended.Load() {
		return false
	}
	select {
	case <-l.node.Done():
		return false
	default:
		return true
	}
}

// A trigger kills a server when a message that matches has left.
type trigger struct {
	rule
	kills *clusterServer
}

func newClusterServer(id paxos.ServerID, m paxos.Members, saves time.Duration, log *slog.Logger) (*clusterServer, error) {
	s := &clusterServer{id: id, members: m, saves: saves, log: log, disk: NewCrashStorage()}
	if err := paxos.Format(s.disk, id, m); err != nil {
		return nil, err
	}
	s.disk.Delay(OpSave, saves)
	return s, nil
}

func (s *clusterServer) now() (*clusterLife, *CrashStorage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.life, s.disk
}

// kill cuts the power, if the server runs. From then on it sends nothing and saves nothing, and its Node will be closed.
func (s *clusterServer) kill(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil || s.life.ended.Swap(true) {
		return
	}
	s.log.Info(why, "server", uint64(s.id))
	close(s.life.killed)
	s.powerOff()
}

// powerOff replaces the disk by that of the next life. mu is held.
func (s *clusterServer) powerOff() {
	s.disk = s.disk.Crash()
	s.disk.Delay(OpSave, s.saves)
}

// begins waits for the end of the latest Node, and returns the disk for the next. changing is held.
func (s *clusterServer) begins() *CrashStorage {
	life, _ := s.now()
	if life != nil {
		<-life.node.Done()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if life != nil && (!life.ended.Swap(true) || s.disk.hasFailed()) { // it has ended by itself, or its disk is of no use
		s.powerOff()
	}
	return s.disk
}

// begun takes the next life. changing is held.
func (s *clusterServer) begun(life *clusterLife) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life = life
}

// A clusterEnd is the Transport of a server in one of its lives.
type clusterEnd struct {
	paxos.Transport
	id     paxos.ServerID
	killed <-chan struct{}
	sent   func(paxos.Packet)
}

// ID returns the server that joined.
func (e *clusterEnd) ID() paxos.ServerID { return e.id }

// Send sends nothing after the power is off.
func (e *clusterEnd) Send(p paxos.Packet) {
	select {
	case <-e.killed:
		return
	default:
	}
	e.Transport.Send(p)
	e.sent(p)
}
