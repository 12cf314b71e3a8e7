package paxostest

import (
	"slices"

	"github.com/singledecree/paxos"
)

// Crash cuts the power of a server, and returns when its Node has ended. Data that was not saved is lost, and calls that wait
// return an error. If the server is down, Crash does nothing. [Cluster.Start] starts it again.
func (c *Cluster) Crash(id paxos.ServerID) {
	c.tb.Helper()
	s := c.server(id)
	s.changing.Lock()
	defer s.changing.Unlock()
	s.kill("crash")
	life, _ := s.now()
	<-life.node.Done()
}

// CrashOn has a server crash in the middle of its work: as soon as a message that matches m has left its sender, for the next time. The
// packet with that message is on its way. Nothing that the server does later leaves it.
//
//	c.CrashOn(1, paxostest.Match{From: 1, Kind: paxos.KindAccept}) // its value is at one acceptor, and may come to be chosen
//	c.CrashOn(1, paxostest.Match{To: 1, Kind: paxos.KindPromise})  // its value may have reached the others as a hint alone
//
// The fate of the packet is up to the network. If the server is down at that moment, nothing happens. cancel takes a CrashOn back that has
// not happened.
func (c *Cluster) CrashOn(id paxos.ServerID, m Match) (cancel func()) {
	c.tb.Helper()
	t := &trigger{rule: rule{Match: m}, kills: c.server(id)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.triggers = append(c.triggers, t)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.triggers = slices.DeleteFunc(c.triggers, func(other *trigger) bool { return other == t })
	}
}

// Stop closes the Node of a server, as a service does that ends. If the server is down, Stop does nothing. [Cluster.Start] starts it
// again.
func (c *Cluster) Stop(id paxos.ServerID) {
	c.tb.Helper()
	s := c.server(id)
	s.changing.Lock()
	defer s.changing.Unlock()
	life, _ := s.now()
	if life.ended.Load() {
		return
	}
	if err := life.node.Close(); err != nil {
		s.kill("stopped by force") // its disk hangs, and is in use until the process ends
	}
	life.ended.Store(true)
}

// Wipe crashes a server, if it runs, and loses its disk. Such a server is finished, and [Cluster.Start] fails. A new one can take its
// place, under another ServerID: see [Cluster.Add].
func (c *Cluster) Wipe(id paxos.ServerID) {
	c.tb.Helper()
	c.Crash(id)
	s := c.server(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk = NewCrashStorage()
	s.log.Info("disk lost", "server", uint64(id))
}
