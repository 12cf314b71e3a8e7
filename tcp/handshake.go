package tcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/singledecree/paxos"
)

// magic is the first text of each side. TLS, HTTP and text never begin like that.
const magic = "paxos\r\n\x00"

// Limits of the frames of a handshake. They are far above the present sizes, as later versions may say more. They are small enough for a
// connection that has not proved anything yet.
const (
	maxHandshake = 1 << 10 // of a body
	maxWords     = 512     // of a refuse
)

// The versions of the format that this program knows.
const (
	lowestVersion  = 1
	highestVersion = 1
)

// A Reason says in one word why a connection was refused. It is a key of Stats.Refused and of the log.
type Reason string

// The reasons. All but the last two are told to the other side, in words that name both values.
const (
	ReasonVersion   Reason = "version"   // no version of the format is known to both
	ReasonCluster   Reason = "cluster"   // it is of another cluster
	ReasonTo        Reason = "to"        // it wants another server
	ReasonStranger  Reason = "stranger"  // its server is not in Members
	ReasonIdentity  Reason = "identity"  // its certificate is another server's
	ReasonDuplicate Reason = "duplicate" // another live process is connected as this server
	ReasonBusy      Reason = "busy"      // a former process of this server may live: that is not known yet, and it may try again
	ReasonSpoofed   Reason = "spoofed"   // a Packet says that it is from, or for, another server
	ReasonMalformed Reason = "malformed" // it does not speak the protocol
	ReasonTLS       Reason = "tls"       // the TLS handshake failed: no certificate, or none that is valid here
	ReasonSlow      Reason = "slow"      // it did not finish in time, or had to make room for others
)

// told are the reasons that a refuse can have.
var told = []Reason{ReasonVersion, ReasonCluster, ReasonTo, ReasonStranger, ReasonIdentity, ReasonDuplicate, ReasonBusy,
	ReasonSpoofed, ReasonMalformed}

// A refusal is why a connection is refused, in words for both sides, without addresses. It is an error.
type refusal struct {
	reason Reason
	words  string
}

func (r *refusal) Error() string { return r.words }

func refuse(reason Reason, format string, args ...any) *refusal {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

// A hello is how a dialer introduces itself. A welcome is how a listener does; both have the same fields.
type hello struct {
	lowest, highest uint64 // in a welcome both are the version agreed on
	cluster         string
	from, to        paxos.ServerID
	instance        uint64
	maxBody         uint64 // the largest body that the sender of the hello takes; 0: an older program, which does not say
}

// appendHello appends the frame of a hello.
func appendHello(b []byte, h hello) []byte {
	start := len(b)
	b = beginFrame(b, kindHello)
	b = binary.AppendUvarint(b, h.lowest)
	b = binary.AppendUvarint(b, h.highest)
	b = appendIdentity(b, h)
	if h.maxBody > 0 {
		b = binary.AppendUvarint(b, h.maxBody)
	}
	return endHandshake(b, start)
}

// appendWelcome appends the frame of a welcome.
func appendWelcome(b []byte, h hello) []byte {
	start := len(b)
	b = beginFrame(b, kindWelcome)
	b = appendIdentity(binary.AppendUvarint(b, h.highest), h)
	return endHandshake(binary.AppendUvarint(b, h.maxBody), start)
}

func appendIdentity(b []byte, h hello) []byte {
	b = appendText(b, h.cluster)
	b = binary.AppendUvarint(b, uint64(h.from))
	b = binary.AppendUvarint(b, uint64(h.to))
	return binary.LittleEndian.AppendUint64(b, h.instance)
}

// appendRefuse appends the frame of a refuse, in the version that the other side expects.
func appendRefuse(b []byte, r *refusal, version byte) []byte {
	start := len(b)
	b = appendText(appendText(beginFrame(b, kindRefuse), string(r.reason)), r.words[:min(len(r.words), maxWords)])
	endFrame(b, start)
	seal(b[start:], version)
	return b
}

func endHandshake(b []byte, start int) []byte {
	endFrame(b, start)
	seal(b[start:], 0)
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// parseHello reads the body of a hello.
func parseHello(body []byte) (hello, error) {
	r := fields{rest: body}
	h := hello{lowest: r.uvarint(), highest: r.uvarint()}
	r.identity(&h)
	if len(r.rest) > 0 {
		h.maxBody = r.uvarint()
	}
	if r.bad {
		return hello{}, errors.New("tcp: a hello is cut short or malformed")
	}
	return h, nil
}

// parseWelcome reads the body of a welcome.
func parseWelcome(body []byte) (hello, error) {
	r := fields{rest: body}
	var h hello
	h.highest = r.uvarint()
	h.lowest = h.highest
	r.identity(&h)
	h.maxBody = r.uvarint()
	if r.bad {
		return hello{}, errors.New("tcp: a welcome is cut short or malformed")
	}
	return h, nil
}

// parseRefuse reads the body of a refuse, which a later version may have written. Its words come from the network: they are shown,
// quoted, and not used otherwise.
func parseRefuse(body []byte) (*refusal, error) {
	r := fields{rest: body}
	reason, words := r.text(maxWords), r.text(maxWords)
	if r.bad {
		return nil, errors.New("tcp: a refusal is cut short or malformed")
	}
	if !slices.Contains(told, Reason(reason)) {
		reason = "other"
	}
	return &refusal{Reason(reason), words}, nil
}

// agree returns the highest version that is in both ranges.
func agree(lowest, highest uint64, h hello) (version byte, ok bool) {
	v := min(highest, h.highest)
	return byte(v), v >= max(lowest, h.lowest) && v > 0 && v < 256
}

// fields reads fields one after the other. After the first field that is cut short, all others are zero, and bad is true.
type fields struct {
	rest []byte
	bad  bool
}

func (r *fields) fail() {
	r.rest, r.bad = nil, true
}

func (r *fields) uvarint() uint64 {
	x, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return x
}

func (r *fields) fixed() uint64 {
	if len(r.rest) < 8 {
		r.fail()
		return 0
	}
	x := binary.LittleEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	return x
}

// text returns a copy of a text of at most most bytes.
func (r *fields) text(most int) string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) || n > uint64(most) {
		r.fail()
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

func (r *fields) identity(h *hello) {
	h.cluster = r.text(paxos.MaxName)
	h.from, h.to = paxos.ServerID(r.uvarint()), paxos.ServerID(r.uvarint())
	h.instance = r.fixed()
}
