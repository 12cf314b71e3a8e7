package paxos

import (
	"encoding"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// allocated returns how many bytes f allocates: the least of three runs, as something else may run beside.
func allocated(f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// P28: 20 hostile bytes must not allocate gigabytes.
func TestNoLengthFieldAllocates(t *testing.T) {
	huge := string(binary.AppendUvarint(nil, 1<<40))
	head := string(encode(t, Packet{}))
	head = head[:len(head)-1]
	zeros := strings.Repeat("\x00", 1<<20)
	many := head + "\x80\x80\x04" // 65,536 messages
	for _, c := range []struct {
		name string
		v    encoding.BinaryUnmarshaler
		data string
		most int
	}{
		{"instance", new(Message), "\x01\x01\x00" + huge + "lunch", 1024},
		{"value", new(Message), "\x01\x01\x04\x00\x01\x01" + huge + "burger", 1024},
		{"record", new(Record), "\x01\x04\x00" + huge, 1024},
		{"cluster", new(ServerState), "\x01" + huge, 1024},
		{"count, nothing there", new(Packet), head + huge, 1024},
		{"count, all zero", new(Packet), head + string(binary.AppendUvarint(nil, 1<<20/minBody)) + zeros, 1024},
		{"count up to 512, all zero", new(Packet), head + "\x80\x04" + zeros, 64 << 10},
		{"length of a message", new(Packet), head + "\x01" + huge + "lunch", 1024},
		{"frames of nonsense", new(Packet), many + strings.Repeat("\x05\x01\x00\xff\x00\x00", 1<<16), 16 * 6 << 16},
		{"as many messages as fit", new(Packet), many + strings.Repeat("\x05\x01\x00\x00\x00\x00", 1<<16), 16 * 6 << 16},
	} {
		data := []byte(c.data)
		assert.LessOrEqual(t, allocated(func() { _ = c.v.UnmarshalBinary(data) }), uint64(c.most), c.name)
	}
	assert.LessOrEqual(t, unsafe.Sizeof(Message{}), uintptr(16*minBody), "the factor of 16 in the comments")
}

// distinctNames returns n names, seen by d, that do not drive each other out of its cache.
func distinctNames(d *Decoder, n int) (names []string) {
	for i := 0; len(names) < n && i < 10*n; i++ {
		more := append(names, fmt.Sprintf("jobs/%06d", i))
		// AllocsPerRun runs once before it counts.
		allocations := testing.AllocsPerRun(1, func() {
			for _, name := range more {
				d.interned().text([]byte(name))
			}
		})
		if allocations == 0 {
			names = more
		}
	}
	return names
}

func TestCodecDoesNotAllocate(t *testing.T) {
	var d Decoder
	p := Packet{From: 1, To: 2, Store: math.MaxUint64, Boot: 3, Nonce: 1 << 63, Members: 7, Index: 1 << 40, Seq: 1 << 20}
	for i, name := range distinctNames(&d, 64) {
		p.Messages = append(p.Messages, Message{Kind: Kind(i), Instance: name, Ballot: Ballot{MaxRound, ServerID(i)},
			Promised: Ballot{1, 1}})
	}
	full := Message{Kind: KindPromise, Instance: "lunch", Ballot: Ballot{2, 1}, Promised: Ballot{2, 1},
		Accepted: Ballot{1, 1}, Value: "burger"}
	state := ServerState{Cluster: "prod", ID: 1, Members: "1,2,3 majority(3)"}
	buf := make([]byte, 0, 1<<16)
	for name, v := range map[string]encoding.BinaryAppender{
		"packet": &p, "packet with values": &Packet{Messages: []Message{full, full}}, "message": &full,
		"record": &Record{Instance: "lunch", Acceptor: Acceptor{Ballot{2, 1}, Ballot{1, 1}, "burger"}, Chosen: true, Index: 1},
		"state":  &state,
	} {
		assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = v.AppendBinary(buf) }), name)
	}

	var into Packet
	data := encode(t, p)
	assert.Zero(t, testing.AllocsPerRun(100, func() { assert.NoError(t, d.Packet(data, &into)) }), "decoding a packet")
	assert.Equal(t, p, into)
	var m Message
	one := encode(t, p.Messages[5])
	assert.Zero(t, testing.AllocsPerRun(100, func() { assert.NoError(t, d.Message(one, &m)) }), "decoding a message")
	assert.Equal(t, p.Messages[5], m)
	var r Record
	one = encode(t, Record{Instance: p.Messages[9].Instance, Acceptor: Acceptor{Promised: Ballot{1, 2}}})
	assert.Zero(t, testing.AllocsPerRun(100, func() { assert.NoError(t, d.Record(one, &r)) }), "decoding a record")
}

func TestDecoderUsesSlicesAgain(t *testing.T) {
	var d Decoder
	data := encode(t, Packet{Messages: []Message{{Kind: KindAccept, Instance: "lunch", Value: "burger"}, {Kind: KindChosen}}})
	mine := make([]Message, 3, 10)
	mine[0].Value = "a value that must not stay in memory"
	into := Packet{Messages: mine}
	require.NoError(t, d.Packet(data, &into))
	assert.Equal(t, make([]Message, 3), mine, "cleared when taken over")
	first := into.Messages
	require.NoError(t, d.Packet(data, &into))
	assert.Same(t, &mine[0], &into.Messages[0], "the array that was taken over")
	require.NoError(t, d.Packet(data, &into))
	assert.Same(t, &first[0], &into.Messages[0])

	// After an error the target is as before, and still no one else's.
	before := append([]Message(nil), into.Messages...)
	array := &into.Messages[0]
	require.Error(t, d.Packet(data[:len(data)-1], &into))
	assert.Equal(t, before, into.Messages)
	assert.Same(t, array, &into.Messages[0])
	require.NotZero(t, cap(d.spare))
	for _, m := range d.spare[:cap(d.spare)] {
		assert.Zero(t, m)
	}

	// One packet's array is never another's too.
	var other Packet
	require.NoError(t, d.Packet(data, &other))
	assert.NotSame(t, &into.Messages[0], &other.Messages[0])

	// A huge array is let go.
	into.Messages = make([]Message, maxSpare+1)
	require.NoError(t, d.Packet(data, &into))
	assert.Zero(t, cap(d.spare))
}

func BenchmarkCodec(b *testing.B) {
	var d Decoder
	p := Packet{From: 1, To: 2, Store: math.MaxUint64, Boot: 3, Nonce: 1 << 63, Members: math.MaxUint64, Index: 123456, Seq: 99}
	for i, name := range distinctNames(&d, 64) {
		p.Messages = append(p.Messages, Message{Kind: KindPromise, Instance: name, Ballot: Ballot{uint64(i)*100 + 7, 2}})
	}
	data := encode(b, p)
	b.Run("encode packet of 64", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			data, _ = p.AppendBinary(data[:0])
		}
	})
	b.Run("decode packet of 64", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		var into Packet
		for b.Loop() {
			if err := d.Packet(data, &into); err != nil {
				b.Fatal(err)
			}
		}
	})
}
