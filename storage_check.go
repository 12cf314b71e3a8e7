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

// Check returns nil if a correct server may save b on a storage whose state is last. Each Record is then consistent in itself,
// none has an Index above the Last that b leaves, and b.Server takes nothing back. Else the error names the field and the
// instance.
//
// A Storage can call Check first in Save. If Check fails, return its error; the storage is then dead. Check allocates nothing
// when it returns nil. It can't find an error between two records, such as an Index that two instances have.
func (b Batch) Check(last ServerState) error {
	top := last.Last
	if b.Server != nil {
		if err := checkState(&last, b.Server); err != nil {
			return err
		}
		top = b.Server.Last
	}
	for i := range b.Records {
		if err := checkRecord(&b.Records[i]); err != nil {
			return fmt.Errorf("Record %q: %w", b.Records[i].Instance, err)
		}
		if b.Records[i].Index > top {
			return fmt.Errorf("Record %q: Index: %d, above ServerState.Last, %d", b.Records[i].Instance, b.Records[i].Index, top)
		}
	}
	return nil
}

// checkState returns an error that names the field in which next takes back something of last, or nil.
func checkState(last, next *ServerState) error {
	for _, n := range []struct {
		name       string
		last, next uint64
	}{{"Boot", last.Boot, next.Boot}, {"Rounds", last.Rounds, next.Rounds}, {"Last", last.Last, next.Last}, {"Forgotten", last.Forgotten, next.Forgotten}} {
		if n.next < n.last {
			return fmt.Errorf("ServerState.%s: %d after %d: it never goes down", n.name, n.next, n.last)
		}
	}
	switch {
	case last.Cluster != "" && next.Cluster != last.Cluster:
		return fmt.Errorf("ServerState.Cluster: %q after %q: it never changes", next.Cluster, last.Cluster)
	case last.ID != 0 && next.ID != last.ID:
		return fmt.Errorf("ServerState.ID: %d after %d: it never changes", next.ID, last.ID)
	case last.Store != 0 && next.Store != last.Store:
		return fmt.Errorf("ServerState.Store: %d after %d: it never changes", next.Store, last.Store)
	case next.Floor.Less(last.Floor):
		return fmt.Errorf("ServerState.Floor: %s after %s: it never goes down", next.Floor, last.Floor)
	}
	if err := checkPeers(last.Peers, next.Peers); err != nil {
		return err
	}
	return checkConfigurations(last, next)
}

// checkConfigurations returns an error if next takes back something of the configuration of last, or if a text in it is not
// valid, and nil otherwise. Only an error or a change of these fields allocates.
func checkConfigurations(last, next *ServerState) error {
	same := next.Configuration == last.Configuration
	if same && next.Before == last.Before && next.Import == last.Import && (next.Members == last.Members || next.Configuration == "") {
		return nil
	}
	if same && next.Configuration != "" {
		switch {
		case last.Import == ImportComplete && next.Import != ImportComplete:
			return fmt.Errorf("ServerState.Import: %q after %q: it stays so under one Configuration", clip(next.Import), last.Import)
		case next.Before != last.Before && next.Before != "":
			return errors.New("ServerState.Before: it has changed under one Configuration: it may only become empty")
		case next.Before == last.Before && next.Members == last.Members:
			return nil // only Import has changed
		}
	}
	c, _, err := next.configurations()
	if err != nil || same || last.Configuration == "" {
		return err
	}
	was, err := ParseConfiguration(last.Configuration)
	switch {
	case next.Configuration == "":
		return fmt.Errorf("ServerState.Configuration: empty after number %d: it is never taken back", was.Number)
	case err != nil:
		return fmt.Errorf("ServerState.Configuration: the one before: %w", err)
	case c.Number < was.Number:
		return fmt.Errorf("ServerState.Configuration: number %d after %d: it never goes down", c.Number, was.Number)
	case c.Number == was.Number:
		return fmt.Errorf("ServerState.Configuration: another text of number %d: it never changes", c.Number)
	}
	return nil
}

// checkRecord returns an error that names the field in which r contradicts itself, or nil.
func checkRecord(r *Record) error {
	switch {
	case r.Instance == "":
		return errors.New("Instance: it is empty")
	case r.Chosen && r.Index == 0:
		return errors.New("Index: 0, but the record is Chosen: want 1 or more")
	case !r.Chosen && r.Index != 0:
		return fmt.Errorf("Index: %d, but the record is not Chosen: want 0", r.Index)
	case !r.Chosen && r.Acceptor.Promised.Less(r.Acceptor.Accepted):
		return fmt.Errorf("Promised: %s, below Accepted, %s", r.Acceptor.Promised, r.Acceptor.Accepted)
	}
	return nil
}

// CheckLast returns an error if s holds a decision with an Index above last, which is ServerState.Last. No server saves that: a part of s is
// then of an earlier time than the rest, and a server must not start on it. It reads one entry of the index.
func CheckLast(s Storage, last uint64) error {
	above, err := s.Decided(last, 1)
	if err != nil {
		return err
	}
	if len(above) > 0 {
		return fmt.Errorf("Record %q: Index: %d, above ServerState.Last, %d: a part of the storage is older than the rest",
			above[0].Instance, above[0].Index, last)
	}
	return nil
}
