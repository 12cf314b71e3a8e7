package sequence

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/singledecree/paxos"
)

// The value of a slot, for ever:
//
//	"seq"  version, 1 byte: 1  writer, 8 bytes  entries, uvarint: 1 to MaxEntries
//	and for each entry: its ID, 16 bytes  the length of its value, uvarint  its value
const (
	magic   = "seq"
	version = 1
	head    = len(magic) + 1 + 8
)

// entryCost is the most bytes that an entry takes besides its value.
const entryCost = len(ID{}) + binary.MaxVarintLen32

// A batch is what one Log proposes in one slot.
type batch struct {
	writer  uint64
	entries []Item // their Positions have the Index alone
}

func encode(writer uint64, waiters []*waiter) paxos.Value {
	b := append([]byte(magic), version)
	b = binary.BigEndian.AppendUint64(b, writer)
	b = binary.AppendUvarint(b, uint64(len(waiters)))
	for _, w := range waiters {
		b = append(b, w.entry.ID[:]...)
		b = binary.AppendUvarint(b, uint64(len(w.entry.Value)))
		b = append(b, w.entry.Value...)
	}
	return paxos.Value(b)
}

// decode reads the value of an instance. Its error names the instance, and wraps ErrFormat or paxos.ErrNewer. The items share
// memory with the value.
func decode(d paxos.Decision) (batch, error) {
	wrong := func(reason string) (batch, error) {
		return batch{}, fmt.Errorf("sequence: instance %q: %s: %w", d.Instance, reason, ErrFormat)
	}
	rest, ok := strings.CutPrefix(string(d.Value), magic)
	if !ok || rest == "" {
		return wrong("the value does not begin as one")
	}
	if rest[0] > version {
		return batch{}, fmt.Errorf("sequence: instance %q: format version %d: %w", d.Instance, rest[0], paxos.ErrNewer)
	}
	if len(d.Value) < head || rest[0] != version {
		return wrong("the head is too short, or its version is 0")
	}
	b := batch{writer: binary.BigEndian.Uint64([]byte(d.Value[head-8 : head]))}
	rest = string(d.Value[head:])
	count, ok := uvarint(&rest)
	if !ok || count == 0 || count > MaxEntries || count > uint64(len(rest)/(len(ID{})+1)) {
		return wrong("the number of entries is not one")
	}
	b.entries = make([]Item, count)
	for i := range b.entries {
		e := &b.entries[i]
		e.Index = i
		if len(rest) < len(e.ID) {
			return wrong("it ends in an ID")
		}
		rest = rest[copy(e.ID[:], rest):]
		size, ok := uvarint(&rest)
		if !ok || size > uint64(len(rest)) {
			return wrong("it ends in an entry")
		}
		e.Value, rest = paxos.Value(rest[:size]), rest[size:]
	}
	if rest != "" {
		return wrong("there is more after the last entry")
	}
	return b, nil
}

// uvarint cuts a number off the front of s.
func uvarint(s *string) (uint64, bool) {
	n, size := binary.Uvarint([]byte((*s)[:min(len(*s), binary.MaxVarintLen64)]))
	if size <= 0 {
		return 0, false
	}
	*s = (*s)[size:]
	return n, true
}
