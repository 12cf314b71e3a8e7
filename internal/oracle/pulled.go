package oracle

import (
	"fmt"
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
func (o *Oracle) pulled(s *Server, b paxos.Batch) error {
	before, err := cursors(s.Disk.State.Pulled)
	if err != nil {
		return err
	}
	now, err := cursors(b.Server.Pulled)
	if err != nil {
		return err
	}
	for _, at := range now {
		indexes, from := o.indexes[at.store], uint64(0)
		if len(indexes) == 0 {
			continue // the Oracle saw no decision there
		}
		for _, old := range before {
			if old.server == at.server && old.store == at.store {
				from = old.index
			}
		}
		for index := from + 1; index <= at.index; index++ {
			name, decided := indexes[index]
			if other := o.server(at.server); !decided || o.forgets(s, b, other, at.store, index, name) {
				continue
			}
			if !o.history(name).forged && !s.holds(name, b.Records) {
				return fmt.Errorf("I11 is broken: server %d saves that it has all that server %d decided up to %d, and has no decision of %q, number %d there",
					s.ID, at.server, at.index, name, index)
			}
		}
	}
	return nil
}

// forgets reports whether s need not have the decision of that Index of another server, as it is forgotten. The other may have forgotten
// it since. If names were forgotten at that very Index, s must have forgotten them.
func (o *Oracle) forgets(s *Server, b paxos.Batch, other *Server, store, index uint64, name string) bool {
	if names, ok := o.ranges[store][index]; ok {
		if s.forgetsAll(names, b) {
			return true
		}
	}
	return other != nil && other.Disk.State.Store == store && other.Disk.Records[name].Index != index || s.forgetsAll(paxos.OneName(name), b)
}
