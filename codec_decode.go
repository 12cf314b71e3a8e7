package paxos

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
)

// UnmarshalBinary reads the binary form that [Message.AppendBinary] writes, of this or a later version of this package. It skips
// fields that it does not know. A format version that it does not know is an error. It checks only the form: ballots, names and
// values may be any. It keeps no part of data, and allocates at most the length of data. After an error m is as before.
func (m *Message) UnmarshalBinary(data []byte) error { return decodeMessage(data, nil, m) }

// UnmarshalBinary reads the binary form that [Packet.AppendBinary] writes, of this or a later version of this package. It skips
// fields that it does not know. A format version that it does not know is an error. It checks only the form: ballots, names and
// values may be any. It keeps no part of data. After an error p is as before; else p.Messages is a new slice, nil if there are
// no messages.
//
// A Message is larger in memory than its form. UnmarshalBinary allocates at most 16 times the length of data, and at most
// 64 KiB for messages that data claims to have but does not.
func (p *Packet) UnmarshalBinary(data []byte) error {
	q, err := decodePacket(data, nil, nil)
	if err == nil {
		*p = q
	}
	return err
}

// UnmarshalBinary reads the binary form that [Record.AppendBinary] writes, of this or a later version of this package. It skips
// fields that it does not know. A format version that it does not know is an error. It checks only the form: ballots, names and
// values may be any. It keeps no part of data, and allocates at most the length of data. After an error r is as before.
func (r *Record) UnmarshalBinary(data []byte) error { return decodeRecord(data, nil, r) }

// UnmarshalBinary reads the binary form that [ServerState.AppendBinary] writes, of this or a later version of this package. It skips
// fields that it does not know. A format version that it does not know is an error. It checks only the form. It keeps no
// part of data, and allocates at most the length of data. After an error s is as before.
func (s *ServerState) UnmarshalBinary(data []byte) error {
	r, err := openWire("server state", standingVersion, data)
	if err != nil {
		return err
	}
	t := ServerState{
		Cluster: string(r.text("cluster")),
		ID:      ServerID(r.uvarint("id")),
		Store:   r.fixed("store"),
		Members: string(r.text("members")),
		Boot:    r.uvarint("boot"),
		Rounds:  r.uvarint("rounds"),
		Last:    r.uvarint("last"),
		Pulled:  string(r.text("pulled")),
	}
	if r.pos < len(r.data) { // else the form is of a version that stored no Peers
		t.Peers = string(r.text("peers"))
	}
	if data[0] >= forgetsVersion {
		t.Forgotten = r.uvarint("forgotten")
	}
	if data[0] >= changedVersion {
		t.Configuration = string(r.text("configuration"))
		t.Before = string(r.text("before"))
		t.Import = string(r.text("import"))
	}
	if data[0] >= standingVersion {
		t.Floor = r.ballot("floor")
	}
	if err := r.err("server state"); err != nil {
		return err
	}
	*s = t
	return nil
}

// A Decoder reads binary forms as the UnmarshalBinary methods do, with fewer allocations. It uses slices again, and remembers
// the names of a few thousand recent instances. It reads a packet of such names, without values, and allocates nothing. It
// neither keeps nor aliases its input.
//
// The zero Decoder is ready to use. It is not safe for concurrent use. It holds 80 KiB from its first use on, and at most
// 1.1 MiB when names have filled it. It also holds one slice of at most 16,384 messages.
type Decoder struct {
	names *nameCache
	spare []Message // length 0: Packet fills it next
}

// Message reads the binary form of a Message. After an error into is as before.
func (d *Decoder) Message(data []byte, into *Message) error {
	return decodeMessage(data, d.interned(), into)
}

// Packet reads the binary form of a Packet. d takes the array of into.Messages, up to its capacity. It clears the messages in
// it, and uses the array for a later packet. into gets another array, which the caller owns. After an error into is as before,
// and keeps its array.
func (d *Decoder) Packet(data []byte, into *Packet) error {
	p, err := decodePacket(data, d.interned(), d.spare)
	if err != nil {
		return err
	}
	d.spare = nil
	if cap(into.Messages) <= maxSpare {
		// The messages may point to megabytes of values that nobody else needs any more.
		clear(into.Messages)
		d.spare = into.Messages[:0]
	}
	*into = p
	return nil
}

// maxSpare is the most messages that a Decoder keeps room for: 1.4 MB.
const maxSpare = 16384

// Record reads the binary form of a Record. After an error into is as before.
func (d *Decoder) Record(data []byte, into *Record) error {
	return decodeRecord(data, d.interned(), into)
}

// ServerState reads the binary form of a ServerState. After an error into is as before.
func (d *Decoder) ServerState(data []byte, into *ServerState) error {
	return into.UnmarshalBinary(data)
}

func (d *Decoder) interned() *nameCache {
	if d.names == nil {
		d.names = &nameCache{seed: maphash.MakeSeed()}
	}
	return d.names
}

// A nameCache keeps one copy of each recent name. A name can be in one of two places. A new name takes the first and moves the
// name there to the second. The hash is seeded at random, so that a peer can't aim at one place. A part of each hash is stored
// in tags, so that a new name is recognized without a look at other names.
type nameCache struct {
	seed  maphash.Seed
	tags  [nameCacheSize / 2][2]uint32
	table [nameCacheSize / 2][2]string
}

const nameCacheSize = 4096

// text returns b as a string. A nil cache makes a new one each time.
func (c *nameCache) text(b []byte) string {
	// A text longer than MaxName is no valid name. To keep it would cost more than the documented memory.
	if c == nil || len(b) > MaxName {
		return string(b)
	}
	hash := maphash.Bytes(c.seed, b)
	tag, tags, places := uint32(hash>>32), &c.tags[hash%(nameCacheSize/2)], &c.table[hash%(nameCacheSize/2)]
	for i := range places {
		if tags[i] == tag && places[i] == string(b) {
			return places[i]
		}
	}
	tags[0], tags[1] = tag, tags[0]
	places[0], places[1] = string(b), places[0]
	return places[0]
}

func decodeMessage(data []byte, names *nameCache, into *Message) error {
	r, err := openWire("message", wireVersion, data)
	if err != nil {
		return err
	}
	var m Message
	r.body(&m, names)
	if err := r.err("message"); err != nil {
		return err
	}
	*into = m
	return nil
}

func decodeRecord(data []byte, names *nameCache, into *Record) error {
	r, err := openWire("record", wireVersion, data)
	if err != nil {
		return err
	}
	flags := r.byte("flags")
	rec := Record{Instance: names.text(r.text("instance")), Chosen: flags&wireChosen != 0}
	r.optional(flags, &rec.Acceptor.Promised, &rec.Acceptor.Accepted, &rec.Acceptor.Value)
	rec.Index = r.uvarint("index")
	if err := r.err("record"); err != nil {
		return err
	}
	*into = rec
	return nil
}

// decodePacket puts the messages into spare if spare has room for them. After an error spare is cleared.
func decodePacket(data []byte, names *nameCache, spare []Message) (Packet, error) {
	r, err := openWire("packet", wireVersion, data)
	if err != nil {
		return Packet{}, err
	}
	p := Packet{
		From:    ServerID(r.uvarint("from")),
		To:      ServerID(r.uvarint("to")),
		Store:   r.fixed("store"),
		Boot:    r.uvarint("boot"),
		Nonce:   r.fixed("nonce"),
		Members: r.fixed("members"),
		Index:   r.uvarint("index"),
		Seq:     r.uvarint("seq"),
	}
	count := r.uvarint("number of messages")
	if err := r.err("packet"); err != nil {
		return Packet{}, err
	}
	if err := r.holds(count); err != nil {
		return Packet{}, err
	}
	if count > uint64(cap(spare)) {
		spare = make([]Message, count)
	}
	p.Messages = spare[:count]
	for i := range p.Messages {
		m := wireReader{data: r.text("length"), wrong: r.wrong}
		m.body(&p.Messages[i], names)
		if m.wrong != "" {
			clear(p.Messages)
			return Packet{}, malformed(fmt.Sprintf("packet: message %d of %d", i+1, count), m.wrong)
		}
	}
	if r.pos < len(r.data) { // else the sender has met no storage of the receiver, or is of a version that does not say
		p.ToStore = r.fixed("store of the receiver")
	}
	if r.pos < len(r.data) { // else the sender is in configuration 0
		c := r.uvarint("configuration")
		p.Configuration, p.Complete = c>>1, c > 1 && c&1 == 1
	}
	if err := r.err("packet"); err != nil {
		clear(p.Messages)
		return Packet{}, err
	}
	return p, nil
}

// minBody is the fewest bytes of a message in a packet: its length, kind, flags, length of the instance, and ballot.
const minBody = 6

// trusted is the number of messages (45 KB) that a packet may claim before the claim is checked against its bytes.
const trusted = 512

// holds returns an error if count messages can't follow. So memory is allocated for bytes that arrived, not for a number that
// claims to have more.
func (r wireReader) holds(count uint64) error {
	rest := uint64(len(r.data) - r.pos)
	if count > rest/minBody {
		return fmt.Errorf("paxos: packet: %d messages do not fit the %d bytes left", count, rest)
	}
	if count <= trusted {
		return nil
	}
	for i := range count {
		if len(r.text("length")) < minBody-1 {
			return malformed(fmt.Sprintf("packet: message %d of %d", i+1, count), "length")
		}
	}
	return nil
}

// A wireReader reads fields from data, and never goes beyond its end. After the first field that fails, all fields are zero. So
// callers check once, at the end.
type wireReader struct {
	data  []byte
	pos   int
	wrong string // the first field that failed
}

// openWire returns a reader of what follows the version, which is newest at most.
func openWire(form string, newest byte, data []byte) (wireReader, error) {
	if len(data) == 0 {
		return wireReader{}, errors.New("paxos: " + form + ": no bytes")
	}
	if data[0] < wireVersion || data[0] > newest {
		known := fmt.Sprintf("only version %d", newest)
		if newest > wireVersion {
			known = fmt.Sprintf("only the versions %d to %d", wireVersion, newest)
		}
		err := fmt.Sprintf("paxos: %s: format version %d, but this program knows %s", form, data[0], known)
		if data[0] > newest {
			return wireReader{}, newerError(err)
		}
		return wireReader{}, errors.New(err)
	}
	return wireReader{data: data, pos: 1}, nil
}

// A newerError says which format version is not known. It wraps ErrNewer.
type newerError string

func (e newerError) Error() string { return string(e) }

func (e newerError) Unwrap() error { return ErrNewer }

func (r *wireReader) err(form string) error {
	if r.wrong == "" {
		return nil
	}
	return malformed(form, r.wrong)
}

func malformed(form, field string) error {
	return fmt.Errorf("paxos: %s: %s is cut short or malformed", form, field)
}

func (r *wireReader) fail(field string) {
	if r.wrong == "" {
		r.wrong = field
	}
	r.pos = len(r.data)
}

func (r *wireReader) byte(field string) byte {
	if r.pos >= len(r.data) {
		r.fail(field)
		return 0
	}
	r.pos++
	return r.data[r.pos-1]
}

func (r *wireReader) uvarint(field string) uint64 {
	// Most numbers have one byte.
	if i := r.pos; i < len(r.data) && r.data[i] < 0x80 {
		r.pos = i + 1
		return uint64(r.data[i])
	}
	x, n := binary.Uvarint(r.data[r.pos:])
	if n <= 0 {
		r.fail(field)
		return 0
	}
	r.pos += n
	return x
}

func (r *wireReader) fixed(field string) uint64 {
	if len(r.data)-r.pos < 8 {
		r.fail(field)
		return 0
	}
	r.pos += 8
	return binary.LittleEndian.Uint64(r.data[r.pos-8:])
}

// text returns a part of data, not a copy.
func (r *wireReader) text(field string) []byte {
	n := r.uvarint(field)
	if n > uint64(len(r.data)-r.pos) {
		r.fail(field)
		return nil
	}
	r.pos += int(n)
	return r.data[r.pos-int(n) : r.pos]
}

func (r *wireReader) ballot(field string) Ballot {
	round := r.uvarint(field)
	return Ballot{round, ServerID(r.uvarint(field))}
}

// body reads all fields of m. A field that the form lacks becomes zero.
func (r *wireReader) body(m *Message, names *nameCache) {
	kind, flags := Kind(r.byte("kind")), r.byte("flags")
	instance := names.text(r.text("instance"))
	*m = Message{Kind: kind, Instance: instance, Ballot: r.ballot("ballot")}
	r.optional(flags, &m.Promised, &m.Accepted, &m.Value)
}

func (r *wireReader) optional(flags byte, promised, accepted *Ballot, v *Value) {
	if flags&wirePromised != 0 {
		*promised = r.ballot("promised")
	}
	if flags&wireAccepted != 0 {
		*accepted = r.ballot("accepted")
	}
	if flags&wireValue != 0 {
		*v = Value(r.text("value"))
	}
}
