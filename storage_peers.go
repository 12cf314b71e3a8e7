package paxos

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The text form of ServerState.Peers is "2/9f03,3/1c2": each server and its Store in hexadecimal, in the order of ServerIDs.

// errPeers says how such a text must look.
var errPeers = errors.New("want server/store,server/store in the order of servers, each Store in hexadecimal and not 0")

// nextPeer reads the first part of such a text. It allocates nothing.
func nextPeer(text string) (id ServerID, store uint64, rest string, err error) {
	part, rest, more := strings.Cut(text, ",")
	word, hex, _ := strings.Cut(part, "/")
	n, err1 := strconv.ParseUint(word, 10, 64)
	store, err2 := strconv.ParseUint(hex, 16, 64)
	if err1 != nil || err2 != nil || n == 0 || store == 0 || more && rest == "" {
		return 0, 0, "", errPeers
	}
	return ServerID(n), store, rest, nil
}

// Stores returns the storage of each other server that this one has met, as Peers has them. The error says what is wrong with
// Peers.
func (s ServerState) Stores() (map[ServerID]uint64, error) {
	stores := map[ServerID]uint64{}
	for last, rest := ServerID(0), s.Peers; rest != ""; {
		id, store, next, err := nextPeer(rest)
		if err != nil || id <= last {
			return nil, fmt.Errorf("ServerState.Peers: %q: %w", clip(s.Peers), errPeers)
		}
		stores[id] = store
		last, rest = id, next
	}
	return stores, nil
}

// checkPeers returns an error if next takes back something of last, or is not a valid text, and nil otherwise. Only an error
// allocates.
func checkPeers(last, next string) error {
	if next == last {
		return nil
	}
	for before, rest := ServerID(0), next; rest != ""; {
		id, store, after, err := nextPeer(rest)
		if err != nil || id <= before {
			return fmt.Errorf("ServerState.Peers: %q: %w", clip(next), errPeers)
		}
		before, rest = id, after
		if was, stored, left, err := nextPeer(last); last != "" && err == nil && was <= id {
			if was != id || stored != store {
				return fmt.Errorf("ServerState.Peers: %q after %q: the Store of a server is never taken back nor changed", clip(next), clip(last))
			}
			last = left
		}
	}
	if last != "" {
		return fmt.Errorf("ServerState.Peers: %q lacks %q: the Store of a server is never taken back nor changed", clip(next), clip(last))
	}
	return nil
}

// WithStore returns s with the storage of one more server in Peers. That server must not be in Peers yet. Neither number is 0.
func (s ServerState) WithStore(id ServerID, store uint64) ServerState {
	part := strconv.FormatUint(uint64(id), 10) + "/" + strconv.FormatUint(store, 16)
	at := len(s.Peers)
	for rest := s.Peers; rest != ""; {
		other, _, next, err := nextPeer(rest)
		if err != nil || other > id {
			at = len(s.Peers) - len(rest)
			break
		}
		rest = next
	}
	switch {
	case s.Peers == "":
		s.Peers = part
	case at == len(s.Peers):
		s.Peers += "," + part
	default:
		s.Peers = s.Peers[:at] + part + "," + s.Peers[at:]
	}
	return s
}
