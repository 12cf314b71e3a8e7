package paxos

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Members lists the servers of a cluster. All its servers must be given the same Cluster, Acceptors and Quorum. Every
// [Packet] has a fingerprint of these three, and every storage has them in words. A server refuses a difference.
type Members struct {
	// Cluster names the cluster, so that servers of different clusters never talk to each other by mistake. The name follows
	// the rules of [CheckName].
	Cluster string
	// Acceptors are the servers that vote: 1 to 64, strictly ascending. [Weighted] and other quorums count them by their
	// position. Acceptors also propose and learn.
	Acceptors []ServerID
	// Learners propose and learn, but do not vote (S2). There are at most 1,024, strictly ascending, and none is an acceptor.
	Learners []ServerID
	// Quorum is over the Acceptors. Nil means [Majority].
	Quorum Quorum
}

// Check returns an error that names the wrong field, or nil.
func (m Members) Check() error {
	if err := CheckName(m.Cluster); err != nil {
		return fmt.Errorf("Members.Cluster: %w", err)
	}
	if n := len(m.Acceptors); n < 1 || n > MaxAcceptors {
		return fmt.Errorf("Members.Acceptors: %d servers: want 1 to %d", n, MaxAcceptors)
	}
	if err := checkAscending(m.Acceptors); err != nil {
		return fmt.Errorf("Members.Acceptors: %w", err)
	}
	if len(m.Learners) > maxLearners {
		return fmt.Errorf("Members.Learners: %d servers: want at most %d", len(m.Learners), maxLearners)
	}
	if err := checkAscending(m.Learners); err != nil {
		return fmt.Errorf("Members.Learners: %w", err)
	}
	for _, id := range m.Learners {
		if m.Position(id) >= 0 {
			return fmt.Errorf("Members.Learners: server %d is an acceptor too: acceptors learn anyway", id)
		}
	}
	if err := CheckQuorum(m.quorum()); err != nil {
		return fmt.Errorf("Members.Quorum: %w", err)
	}
	if n := m.quorum().Size(); n != len(m.Acceptors) {
		return fmt.Errorf("Members.Quorum: %s counts %d acceptors, Members.Acceptors has %d", m.quorum(), n, len(m.Acceptors))
	}
	return nil
}

// maxLearners bounds Members.Learners: each costs a copy of every decision.
const maxLearners = 1024

func checkAscending(ids []ServerID) error {
	for i, id := range ids {
		if id == 0 {
			return fmt.Errorf("server 0 is not a valid ServerID")
		}
		if i > 0 && ids[i-1] >= id {
			return fmt.Errorf("server %d after %d: want strictly ascending", id, ids[i-1])
		}
	}
	return nil
}

func (m Members) quorum() Quorum {
	if m.Quorum == nil {
		return Majority(len(m.Acceptors))
	}
	return m.Quorum
}

// Position returns the place of id in Acceptors, from 0. It returns -1 if id is no acceptor.
func (m Members) Position(id ServerID) int {
	i, ok := slices.BinarySearch(m.Acceptors, id)
	if !ok {
		return -1
	}
	return i
}

// Has reports whether id is a server of the cluster.
func (m Members) Has(id ServerID) bool {
	return m.Position(id) >= 0 || slices.Contains(m.Learners, id)
}

// Voters returns the acceptors and the quorum in words, as [ServerState].Members has them: "1,2,3 majority(3)". Two Members
// with the same acceptors and the same quorum have the same words.
func (m Members) Voters() string {
	var b strings.Builder
	for i, id := range m.Acceptors {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(uint64(id), 10))
	}
	return b.String() + " " + m.quorum().String()
}

// String returns in words what all servers must agree on: the cluster, the acceptors and the quorum.
func (m Members) String() string {
	return fmt.Sprintf("cluster %q, acceptors %s", m.Cluster, m.Voters())
}

// Fingerprint returns a number of the cluster, the acceptors and the quorum. It is the first 8 bytes, little-endian, of the
// SHA-256 of [Members.String]. Servers compare it in every [Packet]. Learners are no part of it, and may differ.
func (m Members) Fingerprint() uint64 {
	sum := sha256.Sum256([]byte(m.String()))
	return binary.LittleEndian.Uint64(sum[:])
}

// Clone returns a copy of m with slices of its own, and with the default in place of a nil Quorum.
func (m Members) Clone() Members {
	m.Acceptors, m.Learners, m.Quorum = slices.Clone(m.Acceptors), slices.Clone(m.Learners), m.quorum()
	return m
}
