package oracle

import (
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
)

// A configuration has the servers that vote in its ballots, and their quorum.
type configuration struct {
	acceptors []paxos.ServerID
	quorum    paxos.Quorum
	voters    string                  // acceptors and quorum in words
	complete  map[paxos.ServerID]bool // acceptors whose disks said so once
}

func newConfiguration(m paxos.Members) *configuration {
	return &configuration{acceptors: m.Acceptors, quorum: m.Clone().Quorum, voters: m.Voters(), complete: map[paxos.ServerID]bool{}}
}

// position returns the position of a server among the acceptors; -1: it does not vote.
func (c *configuration) position(s *Server) int {
	for i, id := range c.acceptors {
		if id == s.ID {
			return i
		}
	}
	return -1
}

// set returns those of the servers that vote in c, by position.
func (c *configuration) set(servers []*Server) (all paxos.Set) {
	for _, s := range servers {
		if i := c.position(s); i >= 0 {
			all = all.With(i)
		}
	}
	return all
}

// configurationRecord begins the names of the instances in which configurations are decided.
const configurationRecord = "$config/"

// configurationOf returns the number of the configuration that is decided in the instance of that name; 0: none is.
func configurationOf(name string) uint64 {
	text, ok := strings.CutPrefix(name, configurationRecord)
	if !ok {
		return 0
	}
	n, _ := strconv.ParseUint(text, 10, 64)
	return n
}

// completed returns the acceptors that are complete.
func (c *configuration) completed() (all paxos.Set) {
	for i, id := range c.acceptors {
		if c.complete[id] {
			all = all.With(i)
		}
	}
	return all
}
