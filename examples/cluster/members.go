package main

import (
	"fmt"
	"slices"
	"sync"

	"github.com/singledecree/paxos"
)

// A past knows all servers that ever were members. It reads each configuration once.
type past struct {
	mu    sync.Mutex
	last  uint64 // the number of the last configuration that was read
	known map[paxos.ServerID]bool
}

// left returns the servers that were members before c, and are not in it.
func (s *server) left(c paxos.Configuration) ([]paxos.ServerID, error) {
	p := &s.past
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = map[paxos.ServerID]bool{}
		p.add(s.config.members())
	}
	for ; p.last < c.Number; p.last++ {
		name := paxos.ConfigurationName(p.last + 1)
		rec, err := s.log.Load(name)
		if err != nil {
			return nil, err
		}
		next, err := paxos.ParseConfiguration(string(rec.Acceptor.Value))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p.add(next.Members)
	}
	var all []paxos.ServerID
	for id := range p.known {
		if !c.Members.Has(id) {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all, nil
}

func (p *past) add(m paxos.Members) {
	for _, id := range slices.Concat(m.Acceptors, m.Learners) {
		p.known[id] = true
	}
}

// formerMembers returns the servers that were members before the present configuration, and are not in it.
func (s *server) formerMembers() ([]paxos.ServerID, error) {
	c, _ := s.node.Configuration()
	return s.left(c)
}
