// Package idempotency answers a repeated request with the response of the first one, and never executes it twice by guess.
//
// A client gives each request a key. The server that gets the request reserves the key, executes, and records the response:
//
//	entry, err := store.Begin(ctx, key, fingerprint)
//	if err != nil {
//		return err // nothing was executed
//	}
//	switch entry.Phase {
//	case idempotency.Mine:
//		response := execute()
//		err = entry.Answer(ctx, response)
//	case idempotency.Answered:
//		… send entry.Response
//	case idempotency.InProgress, idempotency.Abandoned:
//		… say so: entry.By and entry.Since tell more
//	}
//
// A reservation and its response are two registers that are written once. Of all calls of Begin with a key, at most one ever gets Mine.
//
// # A crash between the two
//
// If the server crashes after it has reserved the key, nobody knows whether it has executed the request. The key stays in progress, and
// every Begin says by whom and since when. The package never lets a second caller execute it because some time has passed: the first one
// may only be slow.
//
// An operator looks at what was done, or a policy decides, and calls [Store.Abandon]. One register decides between the response and
// the abandonment. So after Abandoned no response can be recorded any more, and the late server learns it from Answer. After that a
// client may use a new key, and knows that the old request may have been executed.
//
// # Names
//
// The key K of store S has the instances S/K/1, the reservation, and S/K/2, the response or abandonment. To forget old keys, put an order
// in their front, as a date, and forget a prefix: [Store.Names]. A forgotten key is never executed again: each call for it returns
// paxos.ErrForgotten.
package idempotency

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/recipe/internal/chain"
)

// The errors of a store, for [errors.Is]. An error also wraps that of the [Register], such as paxos.ErrForgotten, if that is the cause.
var (
	// ErrMismatch: the key was reserved with another fingerprint. The client uses one key for two requests.
	ErrMismatch = errors.New("the key belongs to another request")
	// ErrAbandoned: the key was abandoned before the response came, and the response is not recorded.
	ErrAbandoned = errors.New("the key was abandoned")
	// ErrAnswered: another response was recorded by the same entry.
	ErrAnswered = errors.New("another response is recorded")
	// ErrNotMine: only an entry with the phase Mine can be answered. Nothing was done.
	ErrNotMine = errors.New("the key is not reserved by this caller")
	// ErrFree: the key is not reserved. Nothing was done.
	ErrFree = errors.New("the key is not reserved")
	// ErrValue: a register of the key has a value that this package did not write. The error names the instance.
	ErrValue = chain.ErrValue
)

// A Register is what a Store needs of a server. A [github.com/singledecree/paxos/node.Node] is one.
type Register interface {
	// Propose returns the value that is chosen, and an error of which paxos.Unknown is true if v may be chosen although it failed.
	Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error)
	// Read is linearizable: it returns each decision that any call returned before it began.
	Read(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error)
}

// A Store has keys. It holds nothing itself, and is safe for concurrent use.
type Store struct {
	register  Register
	name, who string
}

// New returns a store. The name begins the names of its instances. who tells people which server has reserved a key: 1 to 255 bytes of
// UTF-8 without control characters, not necessarily unique. The error wraps paxos.ErrName.
func New(r Register, name, who string) (*Store, error) {
	if err := chain.CheckWho("who", who); err != nil {
		return nil, fmt.Errorf("idempotency: %w", err)
	}
	s := &Store{register: r, name: name, who: who}
	if _, err := s.chain("key"); err != nil {
		return nil, err
	}
	return s, nil
}

// chain has the registers of a key.
func (s *Store) chain(key string) (*chain.Chain, error) {
	if key == "" {
		return nil, fmt.Errorf("idempotency: key: %w", paxos.CheckName(key))
	}
	return chain.New(s.register, "idempotency", s.name+"/"+key, 1)
}

// Names is the range of all instances of the keys that begin with prefix, for Forget of a Node.
func (s *Store) Names(prefix string) paxos.NameRange { return paxos.Prefix(s.name + "/" + prefix) }

// A Phase is how far a key is.
type Phase uint8

// The phases of a key. From InProgress a key comes to Answered or to Abandoned, and stays there.
const (
	Free       Phase = iota // nobody has reserved it; only Look returns this
	Mine                    // this call of Begin has reserved it: execute the request now, once
	InProgress              // another call has reserved it, and may be executing, or may have died before, while or after it did
	Answered                // Response is recorded
	Abandoned               // it was given up, and it is not known whether the request was executed
)

// String returns the phase in words.
func (p Phase) String() string {
	return [...]string{"free", "mine", "in progress", "answered", "abandoned", "?"}[min(p, 5)]
}

// An Entry is what is known of a key. Only its Answer asks a server.
type Entry struct {
	Key      string
	Phase    Phase
	By       string      // which server has reserved the key
	Since    time.Time   // when, by the clock of that server, in UTC
	Response paxos.Value // if Answered
	Closer   string      // if Abandoned: which server did it
	Reason   string      // if Abandoned

	chain *chain.Chain
	value chain.Value // the reservation, if it is of this entry
	ends  *chain.Latest
}

// String returns the entry in a line, without the response.
func (e *Entry) String() string {
	text := fmt.Sprintf("key %q is %v", e.Key, e.Phase)
	if e.Phase != Free {
		text += fmt.Sprintf(", by %q since %s", e.By, e.Since.Format(time.RFC3339))
	}
	if e.Phase == Abandoned {
		text += fmt.Sprintf(", given up by %q: %s", e.Closer, e.Reason)
	}
	return text
}

const (
	reserved  = "reserved"
	response  = "response"
	abandoned = "abandoned"
)

// Begin reserves a key, or says what has become of it. It repeats calls that fail, until ctx ends or an error that no repetition mends.
//
// A key has 1 byte or more, valid UTF-8 without control characters. With the name of the store it has at most 252 bytes. The fingerprint
// identifies the request, as a hash of its body does, and may be empty. If the key was reserved with another one, the error is
// [ErrMismatch], and the Entry is there too.
//
// If Begin fails, this caller must not execute. If paxos.Unknown(err) is true, the key may be reserved although nobody executes: it then
// stays in progress until it is abandoned.
func (s *Store) Begin(ctx context.Context, key, fingerprint string) (*Entry, error) {
	c, err := s.chain(key)
	if err != nil {
		return nil, err
	}
	since := time.Now().UTC().Format(time.RFC3339Nano)
	v := chain.Value{Kind: reserved, Nonce: rand.Text(), Who: s.who, Body: paxos.Value(since + "\n" + fingerprint)}
	chosen, mine, err := c.Offer(1, v).Make(ctx)
	if err != nil {
		return nil, err
	}
	e, first, err := entryOf(c, key, chosen)
	if err != nil {
		return nil, err
	}
	if mine {
		e.Phase = Mine
		e.value, e.ends = v, new(chain.Latest)
		return e, nil
	}
	if err := e.look(ctx); err != nil {
		return nil, err
	}
	if first != fingerprint {
		return e, fmt.Errorf("idempotency: %w", chain.Certain("begin", c.Instance(1), ErrMismatch))
	}
	return e, nil
}

// Look says what has become of a key, and reserves nothing.
func (s *Store) Look(ctx context.Context, key string) (*Entry, error) {
	c, err := s.chain(key)
	if err != nil {
		return nil, err
	}
	n, v, err := c.Last(ctx, 1)
	switch {
	case err != nil:
		return nil, err
	case n == 0:
		return &Entry{Key: key, chain: c}, nil
	}
	e, _, err := entryOf(c, key, v)
	if err != nil {
		return nil, err
	}
	return e, e.look(ctx)
}

// Abandon gives up a key that is in progress, and says why. It returns the entry: Abandoned, or Answered if the response came first.
// An Abandon that comes second returns what the first one said. After Abandoned, no response is ever recorded. It does not stop the
// server that is perhaps still executing. If paxos.Unknown(err) is true, call Abandon again, or Look.
func (s *Store) Abandon(ctx context.Context, key, reason string) (*Entry, error) {
	e, err := s.Look(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case e.Phase == Free:
		return nil, fmt.Errorf("idempotency: %w", chain.Certain("abandon", e.chain.Instance(1), ErrFree))
	case e.Phase != InProgress:
		return e, nil
	}
	v := chain.Value{Kind: abandoned, Nonce: rand.Text(), Who: s.who, Body: paxos.Value(reason)}
	chosen, _, err := e.chain.Offer(2, v).Make(ctx)
	if err != nil {
		return nil, err
	}
	return e, e.end(chosen)
}

// entryOf returns the entry of a reservation, and its fingerprint.
func entryOf(c *chain.Chain, key string, v chain.Value) (e *Entry, fingerprint string, err error) {
	since, fingerprint, ok := strings.Cut(string(v.Body), "\n")
	at, err := time.Parse(time.RFC3339Nano, since)
	if v.Kind != reserved || !ok || err != nil {
		return nil, "", c.Wrong(1, v)
	}
	return &Entry{Key: key, Phase: InProgress, By: v.Who, Since: at, chain: c}, fingerprint, nil
}

// look reads what has become of a key that is reserved.
func (e *Entry) look(ctx context.Context) error {
	n, v, err := e.chain.Last(ctx, 2)
	if err != nil || n < 2 {
		return err
	}
	return e.end(v)
}

// end takes in the value that ended the key.
func (e *Entry) end(v chain.Value) error {
	switch v.Kind {
	case response:
		e.Phase, e.Response = Answered, v.Body
	case abandoned:
		e.Phase, e.Closer, e.Reason = Abandoned, v.Who, string(v.Body)
	default:
		return e.chain.Wrong(2, v)
	}
	return nil
}

// Answer records the response, for ever, and does not change the Entry. After nil, every Begin and Look returns it. It repeats calls as
// Begin does. If paxos.Unknown(err) is true, call Answer again with the same response.
//
// Other errors are ErrAbandoned, ErrAnswered, ErrNotMine, and paxos.ErrTooLarge: the response may be about 600 bytes smaller than
// Limits.MaxValue of the servers. The request is executed then all the same: record a smaller response, such as one that says so.
func (e *Entry) Answer(ctx context.Context, r paxos.Value) error {
	if e.value.Nonce == "" {
		return fmt.Errorf("idempotency: key %q: %w", e.Key, chain.Certain("answer", e.Key, ErrNotMine))
	}
	v := chain.Value{Kind: response, Nonce: e.value.Nonce, Who: e.value.Who, Body: r}
	chosen, mine, err := e.ends.Offer(e.chain, 2, v).Make(ctx)
	switch {
	case err != nil || mine:
		return err
	case chosen.Kind == abandoned:
		err = fmt.Errorf("%w, by %q: %s", ErrAbandoned, chosen.Who, chosen.Body)
	case chosen.Kind == response:
		err = ErrAnswered
	default:
		return e.chain.Wrong(2, chosen)
	}
	return fmt.Errorf("idempotency: %w", chain.Certain("answer", e.chain.Instance(2), err))
}
