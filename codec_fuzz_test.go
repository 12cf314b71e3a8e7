package paxos

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// fuzzWire checks these rules for any bytes. There is no panic. Both readers agree. An error changes nothing. A form that was
// read is written and read again as the same. The length of the input bounds the memory.
func fuzzWire[T any, P wireForm[T]](f *testing.F, other func(*rand.Rand) T, decode func(*Decoder, []byte, P) error) {
	rng := rand.New(rand.NewPCG(10, 10))
	for range 20 {
		v := other(rng)
		f.Add(encode(f, P(&v)))
		f.Add(append(encode(f, P(&v)), "more fields"...))
	}
	for _, v := range goldenForms() {
		if v, ok := v.(P); ok {
			f.Add(encode(f, v))
		}
	}
	f.Add([]byte{})
	f.Add([]byte{2})

	var d Decoder
	runs := 0
	f.Fuzz(func(t *testing.T, data []byte) {
		before := other(rand.New(rand.NewPCG(11, 11)))
		v := before
		read := func() error { return P(&v).UnmarshalBinary(data) }
		// Counting bytes stops the world, so not every run does.
		var err error
		if runs++; runs%64 == 0 {
			var start, end runtime.MemStats
			runtime.ReadMemStats(&start)
			err = read()
			runtime.ReadMemStats(&end)
			require.LessOrEqual(t, end.TotalAlloc-start.TotalAlloc, uint64(16*len(data)+256<<10))
		} else {
			err = read()
		}
		w := other(rand.New(rand.NewPCG(11, 11)))
		err2 := decode(&d, data, &w)
		if err != nil {
			require.EqualError(t, err2, err.Error())
			require.Equal(t, before, v)
			require.Equal(t, before, w)
			return
		}
		require.NoError(t, err2)
		require.Equal(t, dropEmpty(v), dropEmpty(w))
		var back T
		require.NoError(t, P(&back).UnmarshalBinary(encode(t, P(&v))))
		require.Equal(t, v, back)
	})
}

// dropEmpty makes nil of the empty slice that a Decoder may leave in a Packet.
func dropEmpty(v any) any {
	if p, ok := v.(Packet); ok && len(p.Messages) == 0 {
		p.Messages = nil
		return p
	}
	return v
}

func FuzzMessageBinary(f *testing.F) { fuzzWire(f, anyMessage, (*Decoder).Message) }

func FuzzPacketBinary(f *testing.F) { fuzzWire(f, anyPacket, (*Decoder).Packet) }

func FuzzRecordBinary(f *testing.F) { fuzzWire(f, anyRecord, (*Decoder).Record) }

func FuzzServerStateBinary(f *testing.F) { fuzzWire(f, anyServerState, (*Decoder).ServerState) }
