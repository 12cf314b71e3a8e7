package paxos

import (
	"encoding/binary"
	"math/bits"
)

// The binary forms. All numbers are unsigned. A uvarint has 1 to 10 bytes with 7 bits each, lowest first (encoding/binary). A
// random number has 8 bytes, little-endian, because a uvarint would not be shorter. A text is its length as a uvarint, and that
// many bytes of any content.
//
//	Message        1  version = 1
//	               …  body
//
//	body           1  kind
//	               1  flags: bit 0 promised, bit 1 accepted, bit 2 value follow; an absent field is zero
//	               …  instance: text
//	            2–20  ballot: round, server: uvarint each
//	          0|2–20  promised: round, server: uvarint each
//	          0|2–20  accepted: round, server: uvarint each
//	             0|…  value: text
//	               …  unknown fields, skipped
//
//	Packet         1  version = 1, of the messages too
//	            2–20  from, to: uvarint each
//	               8  store
//	            1–10  boot: uvarint
//	               8  nonce
//	               8  members
//	            2–20  index, seq: uvarint each
//	            1–10  number of messages: uvarint
//	               …  for each message: the length of its body as a uvarint, the body
//	             0|8  toStore; left out if it and the configuration are 0
//	          0|1–10  configuration: uvarint, its number times 2, plus 1 if complete; left out if the number is 0
//	               …  unknown fields, skipped
//
//	Record         1  version = 1
//	               1  flags: bits 0 to 2 as above, bit 3 chosen
//	               …  instance: text
//	          0|2–20  promised: round, server: uvarint each
//	          0|2–20  accepted: round, server: uvarint each
//	             0|…  value: text
//	            1–10  index: uvarint
//	               …  unknown fields, skipped
//
//	ServerState    1  version = 1; 2 if forgotten is above 0; 3 if configuration, before or import is not empty; 4 if there is a floor
//	               …  cluster: text
//	            1–10  id: uvarint
//	               8  store
//	               …  members: text
//	            3–30  boot, rounds, last: uvarint each
//	               …  pulled: text
//	             0|…  peers: text
//	          0|1–10  forgotten: uvarint, from version 2 on
//	             0|…  configuration, before, import: text each, from version 3 on
//	          0|2–20  floor: round, server: uvarint each, in version 4
//	               …  unknown fields, skipped
//
// A form grows by fields at its end, under the same version; older readers skip them. The version rises only if an older
// reader would misunderstand the form; older readers then refuse it. No form says where it ends, and none has a checksum. The
// frame or the file around it has both.
const wireVersion = 1

// forgetsVersion is the version of the ServerState of a server that has forgotten anything. A server that knows nothing of that
// would vote anew in forgotten instances, so it must not read this form.
const forgetsVersion = 2

// changedVersion is the version of the ServerState of a server that runs under a later configuration than the first. A server
// that knows nothing of configurations would vote beside those that do, so it must not read this form.
const changedVersion = 3

// standingVersion is the version of the ServerState of a server that has promised a standing ballot. A server that knows nothing of
// these would vote below that promise, so it must not read this form.
const standingVersion = 4

// The flag bits of a Message and a Record.
const (
	wirePromised = 1 << iota
	wireAccepted
	wireValue
	wireChosen
)

// AppendBinary appends the binary form of m to b and returns the longer slice. m may be any Message. AppendBinary allocates
// only if b has too little room. The error is always nil.
func (m Message) AppendBinary(b []byte) ([]byte, error) {
	return m.appendBody(append(b, wireVersion)), nil
}

// AppendBinary appends the binary form of p to b and returns the longer slice. p may be any Packet; its Messages are only
// read. AppendBinary allocates only if b has too little room. The error is always nil.
func (p Packet) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, wireVersion)
	b = binary.AppendUvarint(b, uint64(p.From))
	b = binary.AppendUvarint(b, uint64(p.To))
	b = binary.LittleEndian.AppendUint64(b, p.Store)
	b = binary.AppendUvarint(b, p.Boot)
	b = binary.LittleEndian.AppendUint64(b, p.Nonce)
	b = binary.LittleEndian.AppendUint64(b, p.Members)
	b = binary.AppendUvarint(b, p.Index)
	b = binary.AppendUvarint(b, p.Seq)
	b = binary.AppendUvarint(b, uint64(len(p.Messages)))
	for i := range p.Messages {
		m := &p.Messages[i]
		b = binary.AppendUvarint(b, uint64(m.bodySize()))
		b = m.appendBody(b)
	}
	// Without these fields, the form is that of an earlier version. If another field ever follows, always write them.
	if p.ToStore != 0 || p.Configuration != 0 {
		b = binary.LittleEndian.AppendUint64(b, p.ToStore)
	}
	if p.Configuration != 0 {
		c := p.Configuration << 1
		if p.Complete {
			c |= 1
		}
		b = binary.AppendUvarint(b, c)
	}
	return b, nil
}

// AppendBinary appends the binary form of r to b and returns the longer slice. r may be any Record. AppendBinary allocates
// only if b has too little room. The error is always nil.
func (r Record) AppendBinary(b []byte) ([]byte, error) {
	flags := wireFlags(r.Acceptor.Promised, r.Acceptor.Accepted, r.Acceptor.Value)
	if r.Chosen {
		flags |= wireChosen
	}
	b = append(b, wireVersion, flags)
	b = appendText(b, r.Instance)
	b = appendOptional(b, flags, r.Acceptor.Promised, r.Acceptor.Accepted, r.Acceptor.Value)
	return binary.AppendUvarint(b, r.Index), nil
}

// AppendBinary appends the binary form of s to b and returns the longer slice. s may be any ServerState. AppendBinary
// allocates only if b has too little room. The error is always nil.
func (s ServerState) AppendBinary(b []byte) ([]byte, error) {
	version := byte(wireVersion)
	switch {
	case s.Floor != Ballot{}:
		version = standingVersion
	case s.Configuration != "" || s.Before != "" || s.Import != "":
		version = changedVersion
	case s.Forgotten > 0:
		version = forgetsVersion
	}
	b = append(b, version)
	b = appendText(b, s.Cluster)
	b = binary.AppendUvarint(b, uint64(s.ID))
	b = binary.LittleEndian.AppendUint64(b, s.Store)
	b = appendText(b, s.Members)
	b = binary.AppendUvarint(b, s.Boot)
	b = binary.AppendUvarint(b, s.Rounds)
	b = binary.AppendUvarint(b, s.Last)
	b = appendText(b, s.Pulled)
	if s.Peers != "" || version >= forgetsVersion { // without it, the form is that of an earlier version
		b = appendText(b, s.Peers)
	}
	if version >= forgetsVersion {
		b = binary.AppendUvarint(b, s.Forgotten)
	}
	if version >= changedVersion {
		b = appendText(b, s.Configuration)
		b = appendText(b, s.Before)
		b = appendText(b, s.Import)
	}
	if version >= standingVersion {
		b = appendBallot(b, s.Floor)
	}
	return b, nil
}

func (m *Message) appendBody(b []byte) []byte {
	flags := wireFlags(m.Promised, m.Accepted, m.Value)
	b = append(b, byte(m.Kind), flags)
	b = appendText(b, m.Instance)
	b = appendBallot(b, m.Ballot)
	return appendOptional(b, flags, m.Promised, m.Accepted, m.Value)
}

// bodySize returns the number of bytes that appendBody appends. A Packet needs it first, because the length is before the body.
func (m *Message) bodySize() int {
	n := 2 + textSize(len(m.Instance)) + ballotSize(m.Ballot)
	if !m.Promised.IsZero() {
		n += ballotSize(m.Promised)
	}
	if !m.Accepted.IsZero() {
		n += ballotSize(m.Accepted)
	}
	if m.Value != "" {
		n += textSize(len(m.Value))
	}
	return n
}

func wireFlags(promised, accepted Ballot, v Value) (flags byte) {
	if !promised.IsZero() {
		flags |= wirePromised
	}
	if !accepted.IsZero() {
		flags |= wireAccepted
	}
	if v != "" {
		flags |= wireValue
	}
	return flags
}

func appendOptional(b []byte, flags byte, promised, accepted Ballot, v Value) []byte {
	if flags&wirePromised != 0 {
		b = appendBallot(b, promised)
	}
	if flags&wireAccepted != 0 {
		b = appendBallot(b, accepted)
	}
	if flags&wireValue != 0 {
		b = appendText(b, string(v))
	}
	return b
}

func appendBallot(b []byte, c Ballot) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, c.Round), uint64(c.Server))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func ballotSize(b Ballot) int { return uvarintSize(b.Round) + uvarintSize(uint64(b.Server)) }
func textSize(n int) int      { return uvarintSize(uint64(n)) + n }

// uvarintSize returns the number of bytes of x as a uvarint: ceil(bits/7), and 1 for zero.
func uvarintSize(x uint64) int { return (bits.Len64(x|1) + 6) / 7 }
