package script

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// Arguments are the words of a command that have not been taken yet. After the first error nothing more is done.
type arguments struct {
	words []string
	rest  string // the text after the first colon that stands alone at the end of a word
	colon bool
	err   error
}

// split splits a line into words. A quoted word may have spaces. The rest after a word that ends in a colon is one text.
func split(line string) (*arguments, error) {
	a := &arguments{}
	for line = strings.TrimLeft(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
		word, rest, _ := strings.Cut(line, " ")
		if line[0] == '"' {
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, fmt.Errorf("bad quotes: %s", line)
			}
			word, rest = quoted, line[len(quoted):]
		}
		if bare, ok := strings.CutSuffix(word, ":"); ok && word[0] != '"' {
			a.words, a.rest, a.colon = append(a.words, bare), strings.TrimLeft(rest, " "), true
			break
		}
		a.words, line = append(a.words, word), rest
	}
	return a, nil
}

func (a *arguments) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

// then calls f unless something is wrong.
func (a *arguments) then(f func()) {
	if a.err == nil {
		a.err = a.end()
	}
	if a.err == nil {
		f()
	}
}

// end returns an error if something is wrong, or left over.
func (a *arguments) end() error {
	if a.err == nil && (len(a.words) > 0 || a.colon) {
		a.fail(fmt.Errorf("too much: %s", strings.Join(append(a.words, a.rest), " ")))
	}
	return a.err
}

func (a *arguments) word() string {
	if len(a.words) == 0 {
		a.fail(errors.New("something is missing"))
		return ""
	}
	word := a.words[0]
	a.words = a.words[1:]
	return word
}

func (a *arguments) number() int {
	n, err := strconv.Atoi(a.word())
	a.fail(err)
	return n
}

func (a *arguments) server() paxos.ServerID { return paxos.ServerID(a.number()) }

// to is the other server of "S -> S".
func (a *arguments) to() paxos.ServerID {
	if arrow := a.word(); arrow != "->" {
		a.fail(fmt.Errorf("%q: want ->", arrow))
	}
	return a.server()
}

func (a *arguments) duration() time.Duration {
	d, err := time.ParseDuration(a.word())
	a.fail(err)
	return d
}

func (a *arguments) value() paxos.Value {
	v, err := strconv.Unquote(a.word())
	if err != nil {
		a.fail(errors.New("a value is in quotes"))
	}
	return paxos.Value(v)
}

func (a *arguments) ballot() paxos.Ballot {
	b, err := paxos.ParseBallot(a.word())
	a.fail(err)
	return b
}

// message is the text after the colon.
func (a *arguments) message() paxos.Message {
	m, err := paxos.ParseMessage(a.rest)
	if !a.colon {
		err = errors.New("a message is missing")
	}
	a.fail(err)
	a.rest, a.colon = "", false
	return m
}

// link takes a word like 1->3, if one comes next.
func (a *arguments) link() (from, to paxos.ServerID, ok bool) {
	if len(a.words) == 0 {
		return 0, 0, false
	}
	one, other, ok := strings.Cut(a.words[0], "->")
	if !ok {
		return 0, 0, false
	}
	a.word()
	return a.serverOrAny(one), a.serverOrAny(other), true
}

// serverOrAny is one end of a link: a server, or * for any.
func (a *arguments) serverOrAny(s string) paxos.ServerID {
	if s == "*" {
		return 0
	}
	id, err := strconv.ParseUint(s, 10, 64)
	a.fail(err)
	return paxos.ServerID(id)
}

// match takes all words of a paxostest.Match, as paxostest.Match.String writes it.
func (a *arguments) match() (m paxostest.Match) {
	from := len(a.words)
	if one, other, ok := a.link(); ok {
		m.From, m.To = one, other
	}
	for len(a.words) > 0 {
		word := a.words[0]
		kind, ballot := paxos.Kind(0), paxos.Ballot{}
		switch {
		case word == "all":
		case word[0] == '#':
			n, err := strconv.Atoi(word[1:])
			a.fail(err)
			m.Nth = n
		case word[0] == '@':
			m.Instance = word[1:]
		case kind.UnmarshalText([]byte(word)) == nil:
			m.Kind = kind
		case ballot.UnmarshalText([]byte(word)) == nil:
			m.Ballot = ballot
		default:
			return m
		}
		a.word()
	}
	if from == 0 {
		a.fail(errors.New("messages are missing"))
	}
	return m
}
