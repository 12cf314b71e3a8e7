package paxos

import (
	"errors"
	"fmt"
)

// Check returns nil if a correct server may save b on a storage whose state is last. Each Record is then consistent in itself,
// none has an Index above the Last that b leaves, and b.Server takes nothing back. Else the error names the field and the
// instance.
//
// A Storage can call Check first in Save. If Check fails, return its error; the storage is then dead. Check allocates nothing
// when it returns nil. It can't find an error between two records, such as an Index that two instances have.
func (b Batch) Check(last ServerState) error {
	top := last.Last
	if b.Server != nil {
		if err := checkState(last, *b.Server); err != nil {
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
func checkState(last, next ServerState) error {
	for _, n := range []struct {
		name       string
		last, next uint64
	}{{"Boot", last.Boot, next.Boot}, {"Rounds", last.Rounds, next.Rounds}, {"Last", last.Last, next.Last}} {
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
	}
	return checkPeers(last.Peers, next.Peers)
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
