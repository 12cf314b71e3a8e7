package paxos

import (
	"encoding"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// wireForm is what a pointer to each of the four types can do.
type wireForm[T any] interface {
	*T
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

func encode(t testing.TB, v encoding.BinaryAppender) []byte {
	t.Helper()
	b, err := v.AppendBinary(nil)
	require.NoError(t, err)
	return b
}

// anyPacket, anyRecord and anyServerState return what no server would write, as likely as what some would.
func anyPacket(rng *rand.Rand) Packet {
	p := Packet{From: ServerID(anyNumber(rng)), To: ServerID(anyNumber(rng)), Store: anyNumber(rng), Boot: anyNumber(rng),
		Nonce: anyNumber(rng), Members: anyNumber(rng), Index: anyNumber(rng), Seq: anyNumber(rng), ToStore: anyNumber(rng)}
	if rng.IntN(2) == 0 {
		p.Configuration = anyNumber(rng) >> 1
		p.Complete = p.Configuration > 0 && rng.IntN(2) == 0
	}
	for range rng.IntN(6) {
		p.Messages = append(p.Messages, anyMessage(rng))
	}
	return p
}

func anyRecord(rng *rand.Rand) Record {
	m := anyMessage(rng)
	return Record{Instance: m.Instance, Acceptor: Acceptor{m.Promised, m.Accepted, m.Value},
		Chosen: rng.IntN(2) == 0, Index: anyNumber(rng)}
}

func anyServerState(rng *rand.Rand) ServerState {
	s := ServerState{Cluster: anyText(rng), ID: ServerID(anyNumber(rng)), Store: anyNumber(rng), Members: anyText(rng),
		Boot: anyNumber(rng), Rounds: anyNumber(rng), Last: anyNumber(rng), Pulled: anyText(rng), Peers: anyText(rng)}
	if rng.IntN(2) == 0 {
		s.Forgotten = anyNumber(rng)
	}
	if rng.IntN(2) == 0 {
		s.Configuration, s.Before, s.Import = anyText(rng), anyText(rng), anyText(rng)
	}
	if rng.IntN(2) == 0 {
		s.Floor = Ballot{anyNumber(rng), ServerID(anyNumber(rng))}
	}
	return s
}

// anyNumber returns numbers of all lengths, zero and the highest among them.
func anyNumber(rng *rand.Rand) uint64 {
	if rng.IntN(16) == 0 {
		return math.MaxUint64
	}
	return rng.Uint64() >> rng.IntN(65)
}

// olderForms returns at how many bytes of data, the form of v, that of an older version ends, and data with each field at the end that is
// left out.
func olderForms(v any, data []byte) (whole []int, all []byte) {
	all = slices.Clip(data)
	switch v := v.(type) {
	case ServerState:
		switch {
		case data[0] != wireVersion: // nothing is left out
		case v.Peers == "":
			all = append(all, 0)
		default:
			whole = []int{len(data) - textSize(len(v.Peers))}
		}
	case Packet:
		last := 0
		if v.Configuration > 0 {
			last = uvarintSize(v.Configuration<<1 | 1)
			whole = []int{len(data) - last, len(data) - last - 8}
		} else if v.ToStore > 0 {
			whole = []int{len(data) - 8}
		}
		if v.Configuration == 0 && v.ToStore == 0 {
			all = append(all, make([]byte, 8)...)
		}
		if v.Configuration == 0 {
			all = append(all, 0)
		}
	}
	return whole, all
}

// checkWire checks all that is promised of one form, for v and for what v must not become.
func checkWire[T any, P wireForm[T]](t *testing.T, v, other T, decode func(*Decoder, []byte, P) error) {
	t.Helper()
	data := encode(t, P(&v))
	whole, all := olderForms(v, data)
	var d Decoder
	readers := []func([]byte, P) error{
		func(data []byte, into P) error { return into.UnmarshalBinary(data) },
		func(data []byte, into P) error { return decode(&d, data, into) },
	}
	for i, read := range readers {
		got := other
		input := append([]byte(nil), data...)
		require.NoError(t, read(input, &got))
		clear(input) // whoever kept a part of it now sees zeros
		require.Equal(t, v, got, "reader %d", i)

		got = other
		require.NoError(t, read(append(all[:len(all):len(all)], "what a later version added"...), &got))
		require.Equal(t, v, got, "reader %d: unknown fields", i)

		for n := range data {
			if slices.Contains(whole, n) {
				continue
			}
			got = other
			require.Error(t, read(data[:n], &got), "reader %d: %d of %d bytes", i, n, len(data))
			require.Equal(t, other, got, "reader %d: changed by an error", i)
		}
	}
	prefix := []byte("prefix")
	longer, err := P(&v).AppendBinary(prefix)
	require.NoError(t, err)
	require.Equal(t, append([]byte("prefix"), data...), longer)
}

// A ServerState without Peers is of a version that stored none.
func TestServerStateWithoutPeers(t *testing.T) {
	s := ServerState{Boot: 9, Peers: "2/a"}
	require.NoError(t, s.UnmarshalBinary([]byte("\x01\x04prod\x03\x10\x11\x12\x13\x14\x15\x16\x17\x05words\x01\x80\x08\x02\x052/a/7")))
	assert.Equal(t, ServerState{Cluster: "prod", ID: 3, Store: 0x1716151413121110, Members: "words", Boot: 1, Rounds: 1024, Last: 2, Pulled: "2/a/7"}, s)
}

// A Packet without ToStore is of a version that did not name it, or of a server that has met nobody. A part of it is none.
func TestPacketWithoutToStore(t *testing.T) {
	head := "\x01\x01\x02" + "\x10\x11\x12\x13\x14\x15\x16\x17" + "\x03" + "\x20\x21\x22\x23\x24\x25\x26\x27" +
		"\x30\x31\x32\x33\x34\x35\x36\x37" + "\x81\x01" + "\x07" + "\x00"
	want := Packet{From: 1, To: 2, Store: 0x1716151413121110, Boot: 3, Nonce: 0x2726252423222120, Members: 0x3736353433323130, Index: 129, Seq: 7}
	p := Packet{ToStore: 9}
	require.NoError(t, p.UnmarshalBinary([]byte(head)))
	assert.Equal(t, want, p)
	assert.Equal(t, head, string(encode(t, want)), "nothing is written for it")
	require.NoError(t, p.UnmarshalBinary([]byte(head+"\x40\x41\x42\x43\x44\x45\x46\x47")))
	want.ToStore = 0x4746454443424140
	assert.Equal(t, want, p)
	for n := 1; n < 8; n++ {
		assert.EqualError(t, p.UnmarshalBinary([]byte(head+strings.Repeat("x", n))), "paxos: packet: store of the receiver is cut short or malformed")
	}
}

func TestEveryFormRoundTrips(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for range 300 {
		checkWire(t, anyMessage(rng), anyMessage(rng), (*Decoder).Message)
		checkWire(t, anyRecord(rng), anyRecord(rng), (*Decoder).Record)
		checkWire(t, anyServerState(rng), anyServerState(rng), (*Decoder).ServerState)
	}
	checkWire(t, Message{}, anyMessage(rng), (*Decoder).Message)
	checkWire(t, Record{}, anyRecord(rng), (*Decoder).Record)
	checkWire(t, ServerState{}, anyServerState(rng), (*Decoder).ServerState)
}

func TestPacketRoundTrips(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 100 {
		p := anyPacket(rng)
		if len(p.Messages) == 0 {
			continue // nil or empty: see below
		}
		// A Decoder takes the slice of its target over, so each target of checkWire needs one of its own.
		checkWire(t, p, anyPacket(rng), func(d *Decoder, data []byte, into *Packet) error {
			target := *into
			target.Messages = append([]Message(nil), into.Messages...)
			err := d.Packet(data, &target)
			if err == nil {
				*into = target
			} else {
				require.Equal(t, *into, target, "changed by an error")
			}
			return err
		})
	}
	for _, messages := range [][]Message{nil, {}} {
		p := Packet{From: 1, To: 2}
		p.Messages = messages
		into := Packet{Messages: make([]Message, 3)}
		require.NoError(t, into.UnmarshalBinary(encode(t, p)))
		assert.Equal(t, Packet{From: 1, To: 2}, into, "no messages: nil")
		into = Packet{Messages: make([]Message, 3)}
		require.NoError(t, new(Decoder).Packet(encode(t, p), &into))
		assert.Empty(t, into.Messages)
	}
}

func TestBodySizeIsWhatIsAppended(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for range 5000 {
		m := anyMessage(rng)
		require.Equal(t, len(m.appendBody(nil)), m.bodySize())
	}
	for shift := range 65 {
		for _, x := range []uint64{1<<shift - 1, 1 << shift, 1<<shift + 1} {
			require.Equal(t, len(binary.AppendUvarint(nil, x)), uvarintSize(x), "%d", x)
		}
	}
	assert.Equal(t, minBody, 1+(&Message{}).bodySize())
}

func TestOtherFormatVersionsAreRefused(t *testing.T) {
	for form, v := range map[string]interface {
		encoding.BinaryAppender
		encoding.BinaryUnmarshaler
	}{
		"message": &Message{Kind: KindChosen}, "packet": &Packet{From: 3}, "record": &Record{Index: 3},
		"server state": &ServerState{ID: 3},
	} {
		data := encode(t, v)
		newest, knows := byte(1), "only version 1"
		if form == "server state" {
			newest, knows = 4, "only the versions 1 to 4"
		}
		for _, version := range []byte{0, newest + 1, 255} {
			data[0] = version
			err := v.UnmarshalBinary(data)
			want := fmt.Sprintf("paxos: %s: format version %d, but this program knows %s", form, version, knows)
			assert.EqualError(t, err, want)
			assert.Equal(t, byte(1), encode(t, v)[0])
		}
		assert.EqualError(t, v.UnmarshalBinary(nil), "paxos: "+form+": no bytes")
	}
}

// A reader of an earlier version refuses the state of a server that it would misunderstand, and reads every other one.
func TestOlderReadersRefuseWhatTheyWouldMisunderstand(t *testing.T) {
	plain := ServerState{Cluster: "c", ID: 3, Store: 7, Members: "words", Pulled: "2/a/7", Peers: "2/a"}
	forgets, changes := plain, plain
	forgets.Forgotten, changes.Configuration = 1, goldenConfiguration().String()
	both, early, late := changes, plain, plain
	both.Forgotten, early.Before, late.Import = 1, "x", "x"
	stands, all := plain, both
	stands.Floor, all.Floor = Ballot{0, 1}, Ballot{9, 2}
	for _, tt := range []struct {
		state ServerState
		want  byte
	}{{plain, 1}, {forgets, 2}, {changes, 3}, {both, 3}, {early, 3}, {late, 3}, {stands, 4}, {all, 4}} {
		data := encode(t, tt.state)
		assert.Equal(t, tt.want, data[0])
		for newest := byte(1); newest <= 4; newest++ {
			_, err := openWire("server state", newest, data)
			if tt.want <= newest {
				assert.NoError(t, err)
				continue
			}
			known := "version 1"
			if newest > 1 {
				known = fmt.Sprintf("the versions 1 to %d", newest)
			}
			assert.EqualError(t, err, fmt.Sprintf("paxos: server state: format version %d, but this program knows only %s", tt.want, known))
		}
	}
}

// In configuration 0 a packet has the bytes of the versions before, and Complete says nothing.
func TestPacketOfConfiguration0(t *testing.T) {
	p := Packet{From: 1, To: 2, Store: 3, ToStore: 4, Messages: []Message{{Kind: KindChosen}}}
	before := string(encode(t, p))
	p.Complete = true
	assert.Equal(t, before, string(encode(t, p)))
	for n, complete := range map[uint64]bool{1: false, 2: true, MaxConfiguration: true, 1<<63 - 1: true} {
		p.Configuration, p.Complete = n, complete
		data := encode(t, p)
		assert.Equal(t, before, string(data[:len(before)]), "an earlier version reads it")
		var got Packet
		require.NoError(t, got.UnmarshalBinary(data))
		assert.Equal(t, p, got)
	}
	var got Packet
	require.NoError(t, got.UnmarshalBinary([]byte(before+"\x01")))
	assert.Zero(t, got.Configuration)
	assert.False(t, got.Complete)
}

// The next version of the library, made by hand: more fields at the end of each form, inside a packet too, and more flags.
func TestFieldsOfLaterVersionsAreSkipped(t *testing.T) {
	const more = "\x99more\xff"
	body := "\x04\xf0\x05lunch\x02\x01" + more // accepted, flags that are not known yet
	var m Message
	require.NoError(t, m.UnmarshalBinary([]byte("\x01"+body)))
	want := Message{Kind: KindAccepted, Instance: "lunch", Ballot: Ballot{2, 1}}
	assert.Equal(t, want, m)

	second := "\x02\x07\x05lunch\x83\x80\x01\x02\x04\x03\x01\x01\x06burger" + more
	packet := "\x01\x01\x02" + "\x10\x11\x12\x13\x14\x15\x16\x17" + "\x03" + "\x20\x21\x22\x23\x24\x25\x26\x27" +
		"\x30\x31\x32\x33\x34\x35\x36\x37" + "\x81\x01" + "\x07" + "\x02" +
		string([]byte{byte(len(body))}) + body + string([]byte{byte(len(second))}) + second + "\x40\x41\x42\x43\x44\x45\x46\x47" + "\x83\x02" + more
	var p Packet
	require.NoError(t, p.UnmarshalBinary([]byte(packet)))
	assert.Equal(t, Packet{From: 1, To: 2, Store: 0x1716151413121110, Boot: 3, Nonce: 0x2726252423222120,
		Members: 0x3736353433323130, Index: 129, Seq: 7, ToStore: 0x4746454443424140, Configuration: 129, Complete: true, Messages: []Message{want, {Kind: KindPromise, Instance: "lunch", Ballot: Ballot{16387, 2},
			Promised: Ballot{4, 3}, Accepted: Ballot{1, 1}, Value: "burger"}}}, p)

	var r Record
	require.NoError(t, r.UnmarshalBinary([]byte("\x01\xff\x05lunch\x02\x01\x01\x02\x06burger\x80\x01"+more)))
	assert.Equal(t, Record{Instance: "lunch", Acceptor: Acceptor{Ballot{2, 1}, Ballot{1, 2}, "burger"}, Chosen: true,
		Index: 128}, r)

	var s ServerState
	require.NoError(t, s.UnmarshalBinary([]byte("\x01\x04prod\x03\x10\x11\x12\x13\x14\x15\x16\x17\x05words\x01\x80\x08\x02\x052/a/7\x032/a"+more)))
	assert.Equal(t, ServerState{Cluster: "prod", ID: 3, Store: 0x1716151413121110, Members: "words", Boot: 1, Rounds: 1024, Last: 2, Pulled: "2/a/7", Peers: "2/a"}, s)
}

func TestDecodersSayWhatIsWrong(t *testing.T) {
	head := string(encode(t, Packet{}))
	head = head[:len(head)-1] // without the number of messages
	good := "\x05\x04\x00\x00\x01\x01"
	changed := string(encode(t, ServerState{Import: "x"}))
	changed = strings.TrimSuffix(changed, "\x00\x00\x01x") // without the last three texts
	for _, c := range []struct {
		v    encoding.BinaryUnmarshaler
		data string
		want string
	}{
		{new(Message), "\x01", "message: kind is cut short or malformed"},
		{new(Message), "\x01\x01\x00\x05lunc", "message: instance is cut short"},
		{new(Message), "\x01\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "message: instance is cut short"},
		{new(Message), "\x01\x01\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x01", "message: ballot is cut short or malformed"},
		{new(Message), "\x01\x01\x01\x00\x01\x01", "message: promised is cut short"},
		{new(Message), "\x01\x01\x02\x00\x01\x01\x01", "message: accepted is cut short"},
		{new(Message), "\x01\x01\x04\x00\x01\x01\x02x", "message: value is cut short"},
		{new(Record), "\x01\x00\x00", "record: index is cut short"},
		{new(ServerState), "\x01\x00\x01\x01\x02\x03\x04\x05\x06\x07", "server state: store is cut short"},
		{new(ServerState), changed, "server state: configuration is cut short"},
		{new(ServerState), changed + "\x02c", "server state: configuration is cut short"},
		{new(ServerState), changed + "\x01c", "server state: before is cut short"},
		{new(ServerState), changed + "\x01c\x01b", "server state: import is cut short"},
		{new(ServerState), changed[:len(changed)-1], "server state: forgotten is cut short"},
		{new(Packet), head + "\x00" + strings.Repeat("s", 8) + "\x80", "packet: configuration is cut short"},
		{new(Packet), head, "packet: number of messages is cut short"},
		{new(Packet), head + "\x01", "packet: 1 messages do not fit the 0 bytes left"},
		{new(Packet), head + "\x02" + good + good[:5], "packet: 2 messages do not fit the 11 bytes left"},
		{new(Packet), head + "\x02" + good + "\x06" + good[1:], "packet: message 2 of 2: length is cut short"},
		{new(Packet), head + "\x02" + good + "\x04" + good[1:], "packet: message 2 of 2: ballot is cut short"},
		{new(Packet), head + "\x80\x08" + strings.Repeat(good, 1023) + "\x04" + good[1:],
			"packet: message 1024 of 1024: length is cut short"},
		{new(Packet), head + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + good, "messages do not fit the 6 bytes left"},
	} {
		err := c.v.UnmarshalBinary([]byte(c.data))
		assert.ErrorContains(t, err, "paxos: ", "%q", c.data)
		assert.ErrorContains(t, err, c.want, "%q", c.data)
	}
}

// Many more names than places: every one is still read right, and none of what a packet holds changes later.
func TestDecoderNamesDoNotMixUp(t *testing.T) {
	var d Decoder
	rng := rand.New(rand.NewPCG(9, 9))
	var kept []Packet
	var want []Packet
	for i := range 400 {
		p := Packet{Seq: uint64(i)}
		for range 50 {
			p.Messages = append(p.Messages, Message{Instance: fmt.Sprint("n", rng.IntN(20000)),
				Value: Value(fmt.Sprint("v", rng.IntN(9)))})
		}
		data := encode(t, p)
		var got Packet
		require.NoError(t, d.Packet(data, &got))
		clear(data)
		kept, want = append(kept, got), append(want, p)
	}
	for i := range want {
		require.Equal(t, want[i], kept[i])
	}
	for _, place := range d.names.table {
		for _, name := range place {
			require.LessOrEqual(t, len(name), MaxName)
		}
	}
	// A longer name is none, but is read all the same, and not kept.
	var m Message
	long := Message{Instance: strings.Repeat("x", MaxName+1)}
	require.NoError(t, d.Message(encode(t, long), &m))
	assert.Equal(t, long, m)
	for _, place := range d.names.table {
		assert.NotContains(t, place, long.Instance)
	}
}

// Two names that want the same place both stay.
func TestDecoderKeepsTwoNamesInOnePlace(t *testing.T) {
	c := (&Decoder{}).interned()
	first := []byte("first")
	c.text(first)
	full := func() bool {
		for _, place := range c.table {
			if place[1] == "first" {
				return true
			}
		}
		return false
	}
	var second []byte
	for i := 0; !full(); i++ {
		second = fmt.Appendf(nil, "second%d", i)
		c.text(second)
	}
	assert.Zero(t, testing.AllocsPerRun(10, func() { c.text(first); c.text(second) }))
}
