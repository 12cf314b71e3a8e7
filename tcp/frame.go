package tcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/singledecree/paxos"
)

// A kind says what a frame is. The numbers are part of the format and never change; the package comment lists the bodies.
type kind uint8

const (
	kindHello   kind = 1
	kindWelcome kind = 2
	kindRefuse  kind = 3
	kindPacket  kind = 4
	kindPing    kind = 5
	kindPong    kind = 6
)

const (
	headerSize = 12
	crcAt      = 8 // the checksum's place in the header, which is its end
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A frame has arrived whole and intact. Its body is a part of the buffer that it was read into.
type frame struct {
	version byte
	kind    kind
	body    []byte
}

// errChecksum says that a frame was altered on its way.
var errChecksum = errors.New("tcp: a frame's checksum is wrong: bytes were altered on the way, or it is another protocol")

// parseFrame reads the frame at the beginning of b, and returns its size. Size 0 means that the frame is not whole; need is then its size, as
// far as that is known. It neither keeps nor changes b, and allocates only errors.
func parseFrame(b []byte, maxBody int) (f frame, size, need int, err error) {
	if len(b) < headerSize {
		return frame{}, 0, headerSize, nil
	}
	body := binary.LittleEndian.Uint32(b)
	if uint64(body) > uint64(maxBody) {
		return frame{}, 0, 0, fmt.Errorf("tcp: a frame claims %d bytes: at most %d are allowed", body, maxBody)
	}
	size = headerSize + int(body)
	if len(b) < size {
		return frame{}, 0, size, nil
	}
	if checksum(b[:size]) != binary.LittleEndian.Uint32(b[crcAt:]) {
		return frame{}, 0, 0, errChecksum
	}
	return frame{version: b[4], kind: kind(b[5]), body: b[headerSize:size:size]}, size, size, nil
}

// checksum returns the checksum that a whole frame must have.
func checksum(f []byte) uint32 {
	return crc32.Update(crc32.Checksum(f[:crcAt], castagnoli), castagnoli, f[headerSize:])
}

// frameSize returns the size of the first frame in b, which must be whole.
func frameSize(b []byte) int { return headerSize + int(binary.LittleEndian.Uint32(b)) }

// beginFrame appends the header of a frame; the caller then appends the body. endFrame sets its length, and seal its version and
// checksum.
func beginFrame(b []byte, k kind) []byte {
	return append(b, 0, 0, 0, 0, 0, byte(k), 0, 0, 0, 0, 0, 0)
}

// endFrame writes the length of the frame that begins at start and ends where b ends.
func endFrame(b []byte, start int) {
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-headerSize))
}

// seal gives every frame in b its version and its checksum. All of them are whole. Send leaves that to the writing goroutine, which knows
// the version; no caller waits for it.
func seal(b []byte, version byte) (frames int) {
	for len(b) > 0 {
		size := frameSize(b)
		b[4] = version
		binary.LittleEndian.PutUint32(b[crcAt:], checksum(b[:size]))
		b = b[size:]
		frames++
	}
	return frames
}

// appendPacket appends a frame that holds p. It lacks the fields that seal sets.
func appendPacket(b []byte, p *paxos.Packet) []byte {
	start := len(b)
	b, _ = p.AppendBinary(beginFrame(b, kindPacket))
	endFrame(b, start)
	return b
}

// appendEmpty appends a valid frame without a body.
func appendEmpty(b []byte, k kind, version byte) []byte {
	start := len(b)
	b = beginFrame(b, k)
	seal(b[start:], version)
	return b
}
