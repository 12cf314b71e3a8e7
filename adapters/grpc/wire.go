package grpc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/singledecree/paxos"
)

// The stream, and the metadata in which both sides introduce themselves.
const (
	service   = "paxos.Transport"
	packets   = "Packets"
	introduce = "paxos-hello-bin"
	version   = 1
)

// From the client come frames, cut into messages anywhere. A frame is the uvarint size of a packet, and its binary form. Size 0 is a beat: a
// sign of life without a packet. From the server come messages without bytes, which are beats, and messages of one byte, which ask for a beat at
// once.
const (
	maxChunk   = 64 << 10 // bytes of a message of a client
	maxWelcome = 1 << 10  // bytes of a message of a server
)

var (
	beat = []byte{0}
	ask  = []byte{1}
)

// subtype names the codec of our messages: their bytes, as they are. The registry of gRPC is the only way to choose it for one stream of a
// server that others own.
const subtype = "paxos-bytes"

func init() { encoding.RegisterCodecV2(codec{}) }

// A message is what a stream carries.
type message struct{ bytes []byte }

type codec struct{}

func (codec) Name() string { return subtype }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*message)
	if !ok {
		return nil, fmt.Errorf("grpc: codec %s: a %T is not ours", subtype, v)
	}
	return mem.BufferSlice{mem.SliceBuffer(m.bytes)}, nil
}

// Unmarshal appends the bytes to those that the message has.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*message)
	if !ok {
		return fmt.Errorf("grpc: codec %s: a %T is not ours", subtype, v)
	}
	for _, b := range data {
		m.bytes = append(m.bytes, b.ReadOnlyData()...)
	}
	return nil
}

// A hello is how each side introduces itself.
type hello struct {
	cluster   string
	from, to  paxos.ServerID
	instance  uint64 // random for each Transport
	maxPacket uint64 // the largest packet that its sender takes
}

func (h hello) metadata() metadata.MD {
	b := binary.AppendUvarint(nil, version)
	b = binary.AppendUvarint(b, uint64(len(h.cluster)))
	b = append(b, h.cluster...)
	for _, x := range []uint64{uint64(h.from), uint64(h.to), h.instance, h.maxPacket} {
		b = binary.AppendUvarint(b, x)
	}
	return metadata.Pairs(introduce, string(b))
}

// helloIn reads the introduction of the other side. Fields at its end that a later version adds are skipped.
func helloIn(md metadata.MD) (h hello, err error) {
	all := md.Get(introduce)
	if len(all) != 1 {
		return h, fmt.Errorf("it has %d introductions (%s): want one", len(all), introduce)
	}
	b, bad := []byte(all[0]), false
	number := func() uint64 {
		x, n := binary.Uvarint(b)
		if n <= 0 {
			b, bad = nil, true
			return 0
		}
		b = b[n:]
		return x
	}
	if v := number(); v != version {
		return h, fmt.Errorf("it speaks version %d, this server speaks %d", v, version)
	}
	size := number()
	if size > paxos.MaxName || size > uint64(len(b)) {
		return h, errors.New("its introduction is malformed")
	}
	h.cluster, b = string(b[:size]), b[size:]
	h.from, h.to, h.instance, h.maxPacket = paxos.ServerID(number()), paxos.ServerID(number()), number(), number()
	if bad {
		return h, errors.New("its introduction is malformed")
	}
	return h, nil
}

// wholeFrames returns where the last whole frame in b ends. beats counts the frames without a packet, and found those with one.
func wholeFrames(b []byte, maxPacket int) (end, found, beats int, err error) {
	for end < len(b) {
		size, n := binary.Uvarint(b[end:])
		switch {
		case n < 0 || size > uint64(maxPacket):
			return end, found, beats, fmt.Errorf("a packet claims %d bytes: at most %d are allowed", size, maxPacket)
		case n == 0 || size > uint64(len(b)-end-n):
			return end, found, beats, nil
		case size == 0:
			beats++
		default:
			found++
		}
		end += n + int(size)
	}
	return end, found, beats, nil
}

// nextFrame takes the first frame of b, which begins with a whole one.
func nextFrame(b []byte) (packet, rest []byte) {
	size, n := binary.Uvarint(b)
	return b[n : n+int(size)], b[n+int(size):]
}
