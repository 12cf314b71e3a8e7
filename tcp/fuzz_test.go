package tcp

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// seeds adds golden bytes, whole, cut, doubled and altered, as they follow the magic.
func seeds(f *testing.F) {
	for _, g := range goldenFrames() {
		b := bytes.TrimPrefix(g.data, []byte(magic))
		f.Add(b)
		f.Add(b[:len(b)/2])
		f.Add(append(bytes.Clone(b), b...))
		altered := bytes.Clone(b)
		altered[len(b)/2] ^= 4
		f.Add(altered)
	}
	f.Add([]byte("\xff\xff\xff\xff\x01\x04\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte{})
}

// FuzzFrame reads frames of any bytes, at once and piece by piece. Both find the same intact frames, and no buffer is larger than the
// arrived bytes allow.
func FuzzFrame(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 1 << 20
		r := &reader{wire: newWire(&tape{rest: data, step: 1 + len(data)%13}, time.Second), maxBody: most, idle: time.Second}
		for rest := data; ; {
			want, size, need, err := parseFrame(rest, most)
			got, err2 := r.next()
			require.LessOrEqual(t, len(r.buf), max(64<<10, 2*len(data)))
			if err != nil {
				require.EqualError(t, err2, err.Error())
				return
			}
			if size == 0 {
				require.Error(t, err2, "it ended")
				require.Greater(t, need, len(rest))
				return
			}
			require.NoError(t, err2)
			require.Equal(t, want.kind, got.kind)
			require.True(t, bytes.Equal(want.body, got.body))
			again := append(beginFrame(nil, want.kind), want.body...)
			endFrame(again, 0)
			again[6], again[7] = rest[6], rest[7] // not looked at, but sealed
			seal(again, want.version)
			require.True(t, bytes.Equal(rest[:size], again))
			rest = rest[size:]
		}
	})
}

// FuzzHandshake reads hellos, welcomes and refuses of any bytes. A value that is read is written and read again as the same.
func FuzzHandshake(f *testing.F) {
	for _, g := range goldenFrames() {
		if b := bytes.TrimPrefix(g.data, []byte(magic)); len(b) > headerSize {
			f.Add(b[headerSize:])
			f.Add(b[headerSize : len(b)-3])
		}
	}
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, body []byte) {
		if h, err := parseHello(body); err == nil {
			again, err := parseHello(appendHello(nil, h)[headerSize:])
			require.NoError(t, err)
			require.Equal(t, h, again)
			version, ok := agree(1, 2, h)
			require.Equal(t, ok, h.lowest <= 2 && h.highest >= 1 && h.highest >= h.lowest)
			require.True(t, !ok || version == 1 || version == 2)
		}
		if h, err := parseWelcome(body); err == nil {
			again, err := parseWelcome(appendWelcome(nil, h)[headerSize:])
			require.NoError(t, err)
			require.Equal(t, h, again)
		}
		if r, err := parseRefuse(body); err == nil {
			again, err := parseRefuse(appendRefuse(nil, r, 0)[headerSize:])
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
	})
}

// A mute is a listener that nobody calls.
type mute struct{ done chan struct{} }

func (m mute) Accept() (net.Conn, error) { <-m.done; return nil, net.ErrClosed }
func (m mute) Close() error              { close(m.done); return nil }
func (m mute) Addr() net.Addr            { return pipeAddr("mute") }

func fuzzed(f *testing.F) *Transport {
	tr, err := listen(Config{ID: 2, Members: members(2), Plain: true, Listener: mute{make(chan struct{})}}, hooks{lowest: 1, highest: 1})
	require.NoError(f, err)
	f.Cleanup(func() { tr.Close() })
	return tr
}

// FuzzListener is a connection that says anything, to a listener: with a good hello before it or without. The listener lives, and Receive
// returns only packets of the server that was let in.
func FuzzListener(f *testing.F) {
	tr := fuzzed(f)
	seeds(f)
	bad := make(chan paxos.Packet, 1)
	go func() {
		for {
			p, err := tr.Receive(context.Background())
			if err != nil {
				return
			}
			if p.From != 1 || p.To != 2 {
				bad <- p
			}
		}
	}()
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, before := range [][]byte{nil, []byte(magic), appendHello([]byte(magic), helloOf(1, 2, 7))} {
			w := newWire(&tape{rest: append(bytes.Clone(before), data...), step: 1 + len(data)%61}, time.Second)
			tr.serve(w, tr.pending.enter(w))
		}
		select {
		case p := <-bad:
			require.Fail(t, "spoofed", "%+v", p)
		default:
		}
		require.Zero(t, tr.pending.len())
		require.Nil(t, tr.peer(1).slot.occupant())
	})
}

// FuzzDialer is a listener that says anything, to a dialer: with a good welcome before it or without.
func FuzzDialer(f *testing.F) {
	tr := fuzzed(f)
	seeds(f)
	welcome := appendWelcome([]byte(magic), hello{highest: 1, cluster: "prod", from: 1, to: 2, instance: 7, maxBody: 1 << 62})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, before := range [][]byte{nil, []byte(magic), welcome} {
			w := newWire(&tape{rest: append(bytes.Clone(before), data...), step: 1 + len(data)%61}, time.Second)
			r, largest, err := tr.peer(1).sender.introduce(w, nil)
			if err != nil {
				continue
			}
			require.LessOrEqual(t, largest, tr.config.Limits.MaxFrame)
			require.Error(t, tr.peer(1).sender.listen(r))
		}
	})
}
