package paxostest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/singledecree/paxos"
)

// A cursor says how far a server has the decisions of another: up to an Index of one of its stores.
type cursor struct {
	server paxos.ServerID
	store  uint64
	index  uint64
}

// cursors reads ServerState.Pulled: "2/9f03/57,3/1c2/60".
func cursors(text string) (all []cursor, err error) {
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		words := strings.Split(part+"//", "/")
		id, err1 := strconv.ParseUint(words[0], 10, 64)
		store, err2 := strconv.ParseUint(words[1], 16, 64)
		index, err3 := strconv.ParseUint(words[2], 10, 64)
		if err1 != nil || err2 != nil || err3 != nil {
			return nil, fmt.Errorf("ServerState.Pulled: %q", text)
		}
		all = append(all, cursor{paxos.ServerID(id), store, index})
	}
	return all, nil
}

// pulled checks I11 before b is on the disk of s. By b, s has all decisions of some others up to an Index: it must have them. Claims that
// were checked for an earlier cursor are not checked again.
func (c *checker) pulled(s *server, b paxos.Batch) error {
	before, err := cursors(s.disk.state.Pulled)
	if err != nil {
		return err
	}
	now, err := cursors(b.Server.Pulled)
	if err != nil {
		return err
	}
	for _, at := range now {
		from := uint64(0)
		for _, old := range before {
			if old.server == at.server && old.store == at.store {
				from = old.index
			}
		}
		for index := from + 1; index <= at.index; index++ {
			name, decided := c.indexes[at.store][index]
			if decided && !c.history(name).forged && !s.holds(name, b.Records) {
				return fmt.Errorf("I11 is broken: server %d saves that it has all that server %d decided up to %d, and has no decision of %q, number %d there",
					s.id, at.server, at.index, name, index)
			}
		}
	}
	return nil
}

// holds reports whether the decision of an instance is on the disk of s, or in records, which are about to be.
func (s *server) holds(name string, records []paxos.Record) bool {
	return s.disk.records[name].Chosen || slices.ContainsFunc(records, func(r paxos.Record) bool { return r.Instance == name && r.Chosen })
}
