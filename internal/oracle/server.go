package oracle

import (
	"slices"
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
)

// A Server is one server as the [Oracle] sees it: its disk, and how often it has started. The owner of the Server keeps both up to date.
type Server struct {
	ID   paxos.ServerID
	Life uint64 // counts the starts, from 1
	Disk Disk

	place  int                       // in Oracle.servers
	first  uint64                    // Store of the disk that it began with
	peers  string                    // text that stores was read from
	stores map[paxos.ServerID]uint64 // as peers has them
	text   string                    // of the configuration whose number is in
	in     uint64
}

// Stored returns the storage of another server that the disk of s names; 0: it names none.
func (s *Server) Stored(other paxos.ServerID) uint64 {
	if text := s.Disk.State.Peers; text != s.peers {
		s.peers, s.stores = text, map[paxos.ServerID]uint64{}
		for part := range strings.SplitSeq(text, ",") {
			id, hex, _ := strings.Cut(part, "/")
			n, _ := strconv.ParseUint(id, 10, 64)
			s.stores[paxos.ServerID(n)], _ = strconv.ParseUint(hex, 16, 64)
		}
	}
	return s.stores[other]
}

// Met reports whether the disk of s names the storage that another server began with.
func (s *Server) Met(other *Server) bool { return s.Stored(other.ID) == other.first }

// Wiped reports whether s has lost the disk that it began with, and came back on a new one.
func (s *Server) Wiped() bool { return s.Disk.State.Store != s.first }

// number returns the number of the configuration that is on the disk.
func (s *Server) number() uint64 {
	if text := s.Disk.State.Configuration; text != s.text {
		s.text, s.in = text, numberIn(text)
	}
	return s.in
}

// holds reports whether the decision of an instance is on the disk of s, or in records, which are about to be.
func (s *Server) holds(name string, records []paxos.Record) bool {
	return s.Disk.Records[name].Chosen || slices.ContainsFunc(records, func(r paxos.Record) bool { return r.Instance == name && r.Chosen })
}

// forgetsAll reports whether the disk holds that all these names are forgotten, or b is about to say so.
func (s *Server) forgetsAll(names paxos.NameRange, b paxos.Batch) bool {
	var all nameSet
	for _, r := range s.Disk.ranges {
		all.add(r)
	}
	if name, one := names.One(); one && (s.Disk.Forgets(name) || isInternal(name)) {
		return s.Disk.Forgets(name)
	}
	for _, rec := range b.Records {
		if r, ok := rangeOf(rec); ok {
			all.add(r)
		}
	}
	return all.covers(names)
}

// numberIn returns the number of a configuration as text; 0: the text is empty.
func numberIn(text string) uint64 {
	c, _ := paxos.ParseConfiguration(text)
	return c.Number
}

// mayBeTaken reports whether a vote on a disk may have been taken over from another server, in the configuration with that number. Then it is
// no vote of this one.
func mayBeTaken(vote paxos.Ballot, number uint64) bool {
	return number > 0 && (vote.Configuration() < number || vote.Server == 0)
}
