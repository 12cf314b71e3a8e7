package tcp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// goldenFrames are what stands in testdata, by file name. The bytes never change: other versions read them.
func goldenFrames() map[string]struct {
	words string
	data  []byte
} {
	h := hello{lowest: 1, highest: 300, cluster: "my cluster", from: 1, to: 2, instance: 0x0123456789abcdef, maxBody: 4<<20 + 64<<10}
	old := h
	old.maxBody = 0
	back := h
	back.highest, back.from, back.to = 1, 2, 1
	r := refuse(ReasonTo, "server 2 wants server 3, this is server 1")
	p := paxos.Packet{From: 1, To: 2, Store: 0x0123456789abcdef, Boot: 3, Nonce: 0xfedcba9876543210, Members: 0x1122334455667788, Index: 1000,
		Seq: 200, Messages: []paxos.Message{{Kind: paxos.KindPrepare, Instance: "lunch", Ballot: paxos.Ballot{Round: 2, Server: 1}, Value: "burger"}}}
	return map[string]struct {
		words string
		data  []byte
	}{
		"dialer":   {fmt.Sprintf("magic, hello %+v", h), appendHello([]byte(magic), old)}, // as it was before a hello had a limit
		"dialer2":  {fmt.Sprintf("magic, hello %+v, which it says", h), appendHello([]byte(magic), h)},
		"listener": {fmt.Sprintf("magic, welcome %+v", back), appendWelcome([]byte(magic), back)},
		"refuse":   {fmt.Sprintf("magic, refuse, reason %q, words %q", r.reason, r.words), appendRefuse([]byte(magic), r, 0)},
		"packet":   {fmt.Sprintf("packet %+v", p), sealed(appendPacket(nil, &p))},
		"ping":     {"ping", appendEmpty(nil, kindPing, 1)},
		"pong":     {"pong", appendEmpty(nil, kindPong, 1)},
	}
}

func TestGoldenBytes(t *testing.T) {
	frames := goldenFrames()
	for name, g := range frames {
		t.Run(name, func(t *testing.T) {
			var want strings.Builder
			want.WriteString("# " + g.words + "\n")
			for rest := g.data; len(rest) > 0; rest = rest[min(32, len(rest)):] {
				want.WriteString(hex.EncodeToString(rest[:min(32, len(rest))]) + "\n")
			}
			file := filepath.Join("testdata", name+".hex")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(file, []byte(want.String()), 0o644))
			}
			text, err := os.ReadFile(file)
			require.NoError(t, err, "run go test -run TestGoldenBytes -update")
			assert.Equal(t, string(text), want.String(), "the format has changed: other versions cannot read it")
		})
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.hex"))
	require.NoError(t, err)
	assert.Len(t, files, len(frames), "files that no test reads, or the reverse")
}

// Golden bytes are read back as the values that they were made of.
func TestGoldenBytesAreRead(t *testing.T) {
	frames := goldenFrames()
	read := func(name string) frame {
		f, size, _, err := parseFrame(bytes.TrimPrefix(frames[name].data, []byte(magic)), 1<<20)
		require.NoError(t, err)
		require.Positive(t, size)
		return f
	}
	h, err := parseHello(read("dialer").body)
	require.NoError(t, err)
	assert.Equal(t, hello{lowest: 1, highest: 300, cluster: "my cluster", from: 1, to: 2, instance: 0x0123456789abcdef}, h)
	h, err = parseHello(read("dialer2").body)
	require.NoError(t, err)
	assert.Equal(t, hello{lowest: 1, highest: 300, cluster: "my cluster", from: 1, to: 2, instance: 0x0123456789abcdef, maxBody: 4<<20 + 64<<10}, h)
	h, err = parseWelcome(read("listener").body)
	require.NoError(t, err)
	assert.Equal(t, hello{lowest: 1, highest: 1, cluster: "my cluster", from: 2, to: 1, instance: 0x0123456789abcdef, maxBody: 4<<20 + 64<<10}, h)
	r, err := parseRefuse(read("refuse").body)
	require.NoError(t, err)
	assert.Equal(t, refuse(ReasonTo, "server 2 wants server 3, this is server 1"), r)
	f := read("packet")
	assert.Equal(t, frame{1, kindPacket, f.body}, f)
	var p paxos.Packet
	require.NoError(t, p.UnmarshalBinary(f.body))
	assert.Equal(t, uint64(200), p.Seq)
	assert.Equal(t, frame{1, kindPing, []byte{}}, read("ping"))
	assert.Equal(t, frame{1, kindPong, []byte{}}, read("pong"))
}

// No bit of a frame can change unnoticed.
func TestEveryAlteredBitIsNoticed(t *testing.T) {
	p := packetOf(1, 2, 1)
	whole := sealed(appendPacket(nil, &p))
	for bit := range 8 * len(whole) {
		altered := bytes.Clone(whole)
		altered[bit/8] ^= 1 << (bit % 8)
		_, size, _, err := parseFrame(altered, 1<<20)
		if err == nil {
			require.Zero(t, size, "bit %d", bit)
			require.Less(t, bit, 32, "only a length can make it seem not whole yet")
		}
	}
}

func TestFramesBeyondTheLimit(t *testing.T) {
	b := beginFrame(nil, kindPacket)
	b = append(b, make([]byte, 101)...)
	endFrame(b, 0)
	seal(b, 1)
	_, _, _, err := parseFrame(b, 100)
	assert.EqualError(t, err, "tcp: a frame claims 101 bytes: at most 100 are allowed")
	_, size, _, err := parseFrame(b, 101)
	require.NoError(t, err)
	assert.Equal(t, len(b), size)
	_, _, _, err = parseFrame([]byte("\xff\xff\xff\xff\x01\x04\x00\x00\x00\x00\x00\x00"), 1<<30)
	assert.ErrorContains(t, err, "claims 4294967295 bytes")
}

// A tape is a connection that plays bytes, so many at a time, and takes all that is written.
type tape struct {
	rest []byte
	step int
}

func (c *tape) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), max(c.step, 1))], c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *tape) Write(b []byte) (int, error)        { return len(b), nil }
func (c *tape) Close() error                       { return nil }
func (c *tape) LocalAddr() net.Addr                { return pipeAddr("tape") }
func (c *tape) RemoteAddr() net.Addr               { return pipeAddr("tape") }
func (c *tape) SetDeadline(t time.Time) error      { return nil }
func (c *tape) SetReadDeadline(t time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(t time.Time) error { return nil }

// A claimed length allocates nothing. The buffer has at most 64 KiB, or twice the bytes of the frame that have arrived.
func TestLengthsAllocateNothing(t *testing.T) {
	const body = 4 << 20
	claim := beginFrame(nil, kindPacket)
	claim = append(claim, make([]byte, body)...)
	endFrame(claim, 0)
	seal(claim, 1)
	c := &tape{rest: claim, step: 1 << 10}
	r := &reader{wire: newWire(c, time.Second), maxBody: body, idle: time.Second}
	for {
		_, size, need, err := parseFrame(r.buf[r.start:r.end], r.maxBody)
		require.NoError(t, err)
		if size > 0 {
			break
		}
		require.NoError(t, r.fill(need))
		require.LessOrEqual(t, len(r.buf), max(64<<10, 2*r.end))
	}
	assert.Len(t, r.buf, headerSize+body, "and it ends at what the frame takes")

	// Before the handshake there is one buffer, and nothing makes it grow.
	begin := []byte("\xff\xff\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00")
	r = &reader{wire: newWire(&tape{rest: append([]byte(magic), begin...)}, time.Second), maxBody: maxHandshake}
	require.NoError(t, r.magic())
	_, err := r.next()
	require.EqualError(t, err, "tcp: a frame claims 65535 bytes: at most 1024 are allowed")
	assert.Len(t, r.buf, len(magic)+headerSize+maxHandshake)
}

// A hello as long as is allowed is read with that one buffer.
func TestLongestHello(t *testing.T) {
	h := helloOf(1, 2, 3)
	h.cluster = strings.Repeat("c", paxos.MaxName)
	b := beginFrame([]byte(magic), kindHello)
	b = append(b, appendHello(nil, h)[headerSize:]...)
	b = append(b, make([]byte, len(magic)+headerSize+maxHandshake-len(b))...) // of a later version
	endHandshake(b, len(magic))
	r := &reader{wire: newWire(&tape{rest: b, step: 7}, time.Second), maxBody: maxHandshake}
	require.NoError(t, r.magic())
	f, err := r.next()
	require.NoError(t, err)
	got, err := parseHello(f.body)
	require.NoError(t, err)
	assert.Equal(t, h, got)
}

// A queue and a receipt in their steady state: nothing is allocated for a message, and one thing for a value.
func TestAllocations(t *testing.T) {
	q := queue{drops: &drops{}, maxBytes: 1 << 20, maxPackets: 1000, largest: 1 << 20}
	p := benchPacket(1, 2, 10)
	var buf []byte
	push := func() {
		for range 10 {
			q.push(&p)
		}
		var head int
		buf, head, _ = q.take(buf, math.MaxInt)
		seal(buf[head:], 1)
	}
	push()
	push()
	assert.Zero(t, testing.AllocsPerRun(100, push))

	tr := &Transport{config: Config{ID: 2}}
	in := &inbound{transport: tr, from: 1, free: make(chan []byte, 2)}
	var r receipt
	read := func() {
		r.batches, r.next = append(r.batches[:0], batch{from: in, buf: buf, end: len(buf)}), 0
		packets := 0
		for r.read(&tr.counters) {
			packets++
		}
		if packets != 10 {
			panic(packets)
		}
		<-in.free
	}
	read()
	assert.Equal(t, 100.0, testing.AllocsPerRun(100, read), "10 packets of 10 values")
}

// A queue that is never emptied does not grow beyond what it says, and one that was full once gives the memory back.
func TestQueueMemory(t *testing.T) {
	q := queue{drops: &drops{}, maxBytes: 1 << 20, maxPackets: 1 << 20, largest: 1 << 20}
	p := benchPacket(1, 2, 10)
	for range 10000 {
		q.push(&p)
		require.LessOrEqual(t, len(q.buf)-q.head, 1<<20)
		require.LessOrEqual(t, cap(q.buf), 3<<20)
	}
	buf, head, _ := q.take(nil, math.MaxInt)
	frames := seal(buf[head:], 1)
	left := q.waiting()
	assert.Equal(t, uint64(10000-frames), q.drops.oldest.Load())
	assert.Zero(t, left)
	for range 200 {
		q.push(&p)
		buf, _, _ = q.take(buf, math.MaxInt)
	}
	assert.Less(t, cap(buf)+cap(q.buf), 1<<20)
}

// The handshake's words are shown and nothing more: whatever they are, they are quoted and short.
func TestRefusalsAreShort(t *testing.T) {
	r, err := parseRefuse(appendRefuse(nil, refuse("own invention", "%s", strings.Repeat("x", 10000)), 0)[headerSize:])
	require.NoError(t, err)
	assert.Equal(t, Reason("other"), r.reason, "reasons are keys: there are not any number of them")
	assert.Len(t, r.words, maxWords)
	var tr Transport
	err = tr.refusedBy(appendRefuse(nil, refuse(ReasonTo, "\x1b[2J\n"), 0)[headerSize:])
	assert.EqualError(t, err, `it refuses this server: "\x1b[2J\n"`)
	assert.True(t, errors.As(err, new(*refusal)))
}
