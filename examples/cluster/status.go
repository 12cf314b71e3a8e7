package main

import (
	"fmt"
	"time"

	"github.com/singledecree/paxos"
)

// A status is how a server is, as the API tells it.
type status struct {
	ID      paxos.ServerID `json:"id"`
	Members string         `json:"members"`
	// Configuration is the number of the configuration; missing: the members never changed.
	Configuration uint64       `json:"configuration,omitempty"`
	Unsettled     string       `json:"unsettled,omitempty"` // the acceptors for which the configuration waits
	Import        *importing   `json:"import,omitempty"`    // how far this server has taken over what others remember
	Boot          uint64       `json:"boot"`
	Decided       int          `json:"decided"`            // instances
	Open          int          `json:"open"`               // instances that were begun, and can be finished
	Orphaned      int          `json:"orphaned,omitempty"` // instances that wait for the next proposal: no server that was asked knows a value
	Calls         int          `json:"calls"`              // that wait
	NoQuorum      string       `json:"noQuorum,omitempty"`
	Broken        []string     `json:"broken,omitempty"` // proofs that some server broke the protocol, the last of this process
	Disk          int64        `json:"disk"`             // bytes of the segments
	Peers         []peerStatus `json:"peers"`
}

// A peerStatus is how a server stands with another.
type peerStatus struct {
	ID      paxos.ServerID `json:"id"`
	Addr    string         `json:"addr"`
	Out     bool           `json:"out"` // connected: as a receiver,
	In      bool           `json:"in"`  // and as a sender
	Dropped uint64         `json:"dropped,omitempty"`
	Refused string         `json:"refused,omitempty"`
	Err     string         `json:"err,omitempty"` // why out is false
}

func (s *server) status() status {
	n, stored := s.node.Status(), s.log.Stats()
	st := status{ID: n.ID, Members: n.Members, Configuration: n.Configuration, Import: newImporting(n.Import), Boot: n.Boot, Decided: stored.Decided, Open: n.Open, Calls: n.Calls, Disk: stored.Bytes}
	for _, inst := range n.Instances {
		if inst.Orphaned {
			st.Orphaned++
			st.Open--
		}
	}
	if !n.Settled {
		c, _ := s.node.Configuration()
		st.Unsettled = fmt.Sprintf("complete are servers %s of %s", list(complete(n, c)), list(c.Members.Acceptors))
	}
	if n.NoQuorum > 0 {
		st.NoQuorum = n.NoQuorum.String()
	}
	for _, proof := range n.Broken {
		st.Broken = append(st.Broken, proof.Error())
	}
	for _, p := range s.transport.Stats().Peers {
		ps := peerStatus{ID: p.ID, Addr: p.Addr, Out: p.Out, In: p.In, Err: p.Err}
		for _, known := range n.Peers {
			if known.ID == p.ID {
				ps.Dropped, ps.Refused = known.Dropped, known.Refused
			}
		}
		st.Peers = append(st.Peers, ps)
	}
	return st
}

// slowDisk is for how long a disk may leave a Save or a Load without an answer on a healthy server.
const slowDisk = 10 * time.Second

// unhealthy says why a server is not healthy; empty: it is. It asks neither the other servers nor the disk. A lost quorum is no reason to
// restart a server: a probe that restarts takes Node.Done in its place.
func unhealthy(s paxos.Status) string {
	switch n := len(s.Broken); {
	case s.Err != nil:
		return "stopped: " + s.Err.Error()
	case n > 0:
		return "the protocol was broken: " + s.Broken[n-1].Error()
	case s.StorageWait >= slowDisk:
		return "the disk has not answered for " + s.StorageWait.Round(time.Second).String()
	case s.NoQuorum > 0:
		return "no quorum answers, for " + s.NoQuorum.Round(time.Millisecond).String()
	}
	return ""
}

// String says it on one line.
func (s status) String() string {
	var hear []paxos.ServerID
	text := ""
	for _, p := range s.Peers {
		if p.In && p.Out {
			hear = append(hear, p.ID)
		}
		if p.Refused != "" {
			text += fmt.Sprintf("  server %d: %s", p.ID, p.Refused)
		}
	}
	if s.Configuration > 0 {
		text += fmt.Sprintf("  configuration %d", s.Configuration)
	}
	if s.Unsettled != "" {
		text += " is not settled: " + s.Unsettled
		if s.Import != nil {
			text += "; " + s.Import.String()
		}
	}
	if s.NoQuorum != "" {
		text += "  no quorum for " + s.NoQuorum
	}
	if n := len(s.Broken); n > 0 {
		text += "  PROTOCOL BROKEN: " + s.Broken[n-1]
	}
	return fmt.Sprintf("up  boot %d  decisions on disk %d  open %d  connected to %s%s", s.Boot, s.Decided, s.Open+s.Orphaned, list(hear), text)
}
