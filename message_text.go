package paxos

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

var kindNames = [...]string{
	KindPrepare: "prepare", KindPromise: "promise", KindAccept: "accept", KindAccepted: "accepted", KindNack: "nack",
	KindChosen: "chosen", KindDecided: "decided", KindQuery: "query", KindState: "state", KindPull: "pull",
	KindRefuse: "refuse", KindNames: "names", KindLimits: "limits", KindForget: "forget", KindForgotten: "forgotten", KindScan: "scan", KindOpen: "open",
	KindDecisions: "decisions", KindStand: "stand", KindStood: "stood", KindForward: "forward",
}

// String returns the kind in lower case: "promise". A kind without a name is "kind(77)".
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// MarshalText returns the text of [Kind.String]. The error is always nil.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the text of [Kind.String], and nothing else. After an error k is as before.
func (k *Kind) UnmarshalText(text []byte) error {
	parsed, err := parseKind(string(text))
	if err == nil {
		*k = parsed
	}
	return err
}

func parseKind(s string) (Kind, error) {
	for k, name := range kindNames {
		if name == s && name != "" {
			return Kind(k), nil
		}
	}
	number := strings.TrimSuffix(strings.TrimPrefix(s, "kind("), ")")
	if k, err := strconv.ParseUint(number, 10, 8); err == nil && Kind(k).String() == s {
		return Kind(k), nil
	}
	return 0, fmt.Errorf("paxos: %q is no kind of message", shorten(s))
}

// String returns the text form of m, on one line. [ParseMessage] makes m again from it, for every m:
//
//	KIND BALLOT [above PROMISED] [(ACCEPTED "VALUE") | "VALUE"] [@INSTANCE]
//
//	prepare 2.2 "pizza" @lunch
//	promise 2.1 (1.1 "burger") @lunch
//	nack 1.1 above 2.2 @lunch
//
// A zero Promised or Accepted and an empty Instance or Value are left out. But an accept and a decided always show their
// value, because there the empty value is a value too. Values are quoted as in Go. An instance is quoted unless all its bytes
// are ASCII letters, digits, '-', '_', '.' or '/'.
func (m Message) String() string {
	b := append([]byte(m.Kind.String()), ' ')
	b = append(b, m.Ballot.String()...)
	if !m.Promised.IsZero() {
		b = append(b, " above "+m.Promised.String()...)
	}
	switch {
	case !m.Accepted.IsZero():
		b = append(b, " ("+m.Accepted.String()+" "...)
		b = append(strconv.AppendQuote(b, string(m.Value)), ')')
	case m.Value != "" || m.Kind == KindAccept || m.Kind == KindDecided:
		b = strconv.AppendQuote(append(b, ' '), string(m.Value))
	}
	switch {
	case m.Instance == "":
	case isBare(m.Instance):
		b = append(b, " @"+m.Instance...)
	default:
		b = strconv.AppendQuote(append(b, " @"...), m.Instance)
	}
	return string(b)
}

// isBare reports whether an instance needs no quotes.
func isBare(instance string) bool {
	for _, c := range []byte(instance) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_./", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// String returns the text forms of the messages of p, one on each line, with the sender and the receiver:
//
//	1 -> 2: promise 2.1 (1.1 "burger") @lunch
//
// It shows nothing else of p. The last line has no line end. Without messages the text is "1 -> 2:".
func (p Packet) String() string {
	head := fmt.Sprintf("%d -> %d:", p.From, p.To)
	if len(p.Messages) == 0 {
		return head
	}
	var b strings.Builder
	for i, m := range p.Messages {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(head + " " + m.String())
	}
	return b.String()
}

// ParseMessage reads the text form that [Message.String] writes, and nothing else: no other order, spacing or quoting. The
// error says which part is wrong.
func ParseMessage(s string) (Message, error) {
	var m Message
	p := messageParser{rest: s}
	m.Kind = p.kind()
	m.Ballot = p.ballot("ballot", " ")
	if p.has(" above ") {
		m.Promised = p.ballot("promised ballot", " above ")
	}
	switch {
	case p.has(" ("):
		m.Accepted = p.ballot("accepted ballot", " (")
		m.Value = Value(p.quoted("value", " "))
		p.skip(")")
	case p.has(` "`):
		m.Value = Value(p.quoted("value", " "))
	}
	if p.has(" @") {
		m.Instance = p.instance()
	}
	if p.err == nil && p.rest != "" {
		p.fail(fmt.Errorf("%q is left over", shorten(p.rest)))
	}
	if p.err == nil && m.String() != s {
		// Each message has one form, so that texts can be compared as texts.
		p.fail(fmt.Errorf("it is written %q", shorten(m.String())))
	}
	if p.err != nil {
		return Message{}, fmt.Errorf("paxos: message %q: %w", shorten(s), p.err)
	}
	return m, nil
}

// A messageParser takes parts from the front of rest. After the first error it takes nothing more.
type messageParser struct {
	rest string
	err  error
}

func (p *messageParser) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *messageParser) has(prefix string) bool {
	return p.err == nil && strings.HasPrefix(p.rest, prefix)
}

func (p *messageParser) skip(prefix string) {
	if !p.has(prefix) {
		p.fail(fmt.Errorf("want %q before %q", prefix, shorten(p.rest)))
		return
	}
	p.rest = p.rest[len(prefix):]
}

// word takes all bytes before the next space.
func (p *messageParser) word() (w string) {
	if p.err != nil {
		return ""
	}
	end := strings.IndexByte(p.rest, ' ')
	if end < 0 {
		end = len(p.rest)
	}
	w, p.rest = p.rest[:end], p.rest[end:]
	return w
}

func (p *messageParser) kind() Kind {
	k, err := parseKind(p.word())
	if err != nil {
		p.fail(errors.New("want a kind first, such as prepare or kind(77)"))
	}
	return k
}

func (p *messageParser) ballot(field, prefix string) Ballot {
	p.skip(prefix)
	w := p.word()
	b, err := ParseBallot(w)
	if err != nil {
		p.fail(fmt.Errorf("%s %q: %s", field, shorten(w), ballotForms))
	}
	return b
}

func (p *messageParser) quoted(field, prefix string) string {
	p.skip(prefix)
	if p.err != nil {
		return ""
	}
	quoted, err := strconv.QuotedPrefix(p.rest)
	if err != nil {
		p.fail(fmt.Errorf("%s: want text quoted as in Go before %q", field, shorten(p.rest)))
		return ""
	}
	p.rest = p.rest[len(quoted):]
	text, err := strconv.Unquote(quoted)
	if err != nil {
		p.fail(fmt.Errorf("%s: %w", field, err))
	}
	return text
}

func (p *messageParser) instance() string {
	if p.has(` @"`) {
		return p.quoted("instance", " @")
	}
	p.skip(" @")
	if w := p.word(); w != "" {
		return w
	}
	p.fail(errors.New("instance: nothing follows the @"))
	return ""
}

// shorten cuts s to a length that fits an error.
func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
