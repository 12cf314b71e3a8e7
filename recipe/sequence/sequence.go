// Package sequence appends entries to numbered slots: the configurations of a service in their order, or a small log. Any
// number of writers append at the same time, on any servers, and all readers see the same entries in the same order.
//
//	log, err := sequence.New(server, "config") // server is a *node.Node
//	…
//	at, err := log.Append(ctx, "debug=on")       // the place where it landed, for ever
//	…
//	for item, err := range log.Entries(ctx, sequence.Position{}) { // all of them, then each new one
//		…
//	}
//
// Slot 17 of the sequence "config" is the instance config/0000000000000017. Its value is a batch: the entries that the callers
// of one [Log] had ready at that time. So a [Position] is a slot and a place in its batch. Nothing else may use names that
// begin with "config/".
//
// # What is guaranteed
//
//   - An entry lands at most once, and [Log.Append] returned nil only if it landed, at that Position. This holds for retries
//     and for hedged calls on several servers, if they pass one [Entry] to [Log.AppendEntry].
//   - An Append that begins after another has returned lands at a higher Position.
//   - There are no gaps and no no-ops. A slot is proposed only by a Log that knows a decision in each slot before it.
//   - After an error, [paxos.Unknown] tells whether the entry may be in the sequence. If so, [AppendError.Slot] is the only
//     slot where this call can have put it. The doubt ends when that slot is decided, or with AppendEntry.
//
// The reason is one rule: an entry is proposed in a slot only when all slots from [Entry.From] to there are decided, and hold
// other entries. So no second slot can get it. An entry is told from others by its [ID], a nonce, and never by its value.
//
// # Writers on several servers
//
// Writers that append all the time take turns: the one that wrote longest ago comes first, and the others wait a little. That
// is a matter of speed alone. A writer that misses its turn holds up the others for a few decisions' time, once.
//
// # When this is the wrong tool
//
// Each slot is a decision of its own, with two round trips and a Save at each server, and slots are decided one after another.
// There is no leader that sends entries in a stream. For hundreds of thousands of entries a second, or for a replicated state
// machine with snapshots, use a Raft library. If entries need no order among each other, give each a name of its own: that
// is cheaper, and all are decided at the same time.
package sequence

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/singledecree/paxos"
)

// A Register has the calls that a Log makes. A *node.Node is one. They must be safe for concurrent use, and mean what they
// mean there.
type Register interface {
	Propose(ctx context.Context, instance string, v paxos.Value) (paxos.Decision, error)
	Read(ctx context.Context, instance string) (d paxos.Decision, ok bool, err error)
	Wait(ctx context.Context, instance string) (paxos.Decision, error)
	Forget(ctx context.Context, names paxos.NameRange) error
}

// Limits of a sequence.
const (
	// MaxSlot is the number of the last slot.
	MaxSlot = 9_999_999_999_999_999
	// MaxName is the most bytes of the name of a sequence.
	MaxName = paxos.MaxName - 1 - digits
	// MaxBatch is the most bytes of a batch with more than one entry. A larger entry travels alone.
	MaxBatch = 64 << 10
	// MaxEntries is the most entries of a batch.
	MaxEntries = 4096

	digits = 16
)

// ErrFormat is wrapped by the error of a value that is no batch of a sequence: something else has proposed in a slot. Writers
// pass over such a slot, and readers are told of it.
var ErrFormat = errors.New("not a batch of a sequence")

// A Position is the place of an entry: its slot, and its place in the batch there, from 0.
type Position struct {
	Slot  uint64 `json:"slot"`
	Index int    `json:"index"`
}

// Next returns the first Position that can come after p: the place from which to go on after the item at p.
func (p Position) Next() Position { return Position{p.Slot, p.Index + 1} }

// Less reports whether p comes before q.
func (p Position) Less(q Position) bool {
	return p.Slot < q.Slot || p.Slot == q.Slot && p.Index < q.Index
}

// An ID is the nonce of an entry: 16 random bytes.
type ID [16]byte

// String returns the ID in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText returns the text of String. The error is always nil.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads 32 hexadecimal digits. After an error id is as before.
func (id *ID) UnmarshalText(text []byte) error {
	var read ID
	if len(text) != 2*len(read) {
		return fmt.Errorf("sequence: ID of %d characters, want %d", len(text), 2*len(read))
	}
	if _, err := hex.Decode(read[:], text); err != nil {
		return fmt.Errorf("sequence: ID: %w", err)
	}
	*id = read
	return nil
}

// An Entry is a value that lands in a sequence at most once, however often and wherever it is appended: see
// [Log.AppendEntry]. It may be stored, in JSON for example, and appended after a restart.
type Entry struct {
	ID ID `json:"id"`
	// From is the first slot where the entry can be. AppendEntry reads the slots from there to the end.
	From  uint64      `json:"from"`
	Value paxos.Value `json:"value"`
}

// An Item is an entry in its place.
type Item struct {
	Position
	ID    ID
	Value paxos.Value
}

// An AppendError says why an entry was not appended, or may not have been. [paxos.Unknown] of it is false if this call has put
// the entry nowhere and never will. Otherwise the entry may be in Slot, or may still land there, but this call put it
// in no other slot.
type AppendError struct {
	Slot uint64
	Err  error // a *paxos.OpError
}

// Error is the text of Err.
func (e *AppendError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *AppendError) Unwrap() error { return e.Err }

// A ForgottenError says that a slot is forgotten. It wraps [paxos.ErrForgotten].
type ForgottenError struct {
	Next uint64 // the first slot that is not forgotten, as far as this server knows; above MaxSlot if all are
	Err  error
}

// Error names the slot from which to go on.
func (e *ForgottenError) Error() string {
	if e.Next > MaxSlot {
		return fmt.Sprintf("sequence: all of it is forgotten: %v", e.Err)
	}
	return fmt.Sprintf("sequence: forgotten up to slot %d: %v", e.Next, e.Err)
}

// Unwrap returns Err.
func (e *ForgottenError) Unwrap() error { return e.Err }

// A Log appends to one sequence, and reads it. Its methods are safe for concurrent use. It needs no Close: its one goroutine
// runs while an Append waits. A service has one Log for each sequence on each server: callers that share a Log share its
// batches.
type Log struct {
	on     Register
	name   string
	writer uint64 // random: tells the batches of this Log from others

	mu      sync.Mutex
	found   bool      // next was the end at some time since the start of the Log
	next    uint64    // each slot below it is decided
	queue   []*waiter // entries that are in no slot below next
	live    int       // those of them with a caller that waits
	running bool      // a goroutine serves the queue
	stop    func()    // ends the call that it makes; nil: it makes none
	most    int       // bytes of a batch
	losses  int       // slots that were lost in a row
	turns   turns
}

// New returns a Log of the sequence of that name on the given registers, such as a *node.Node. It asks nobody. The error wraps
// [paxos.ErrName] if name is not valid: it has 1 to [MaxName] bytes of UTF-8 without control characters, and does not begin
// with "$".
func New(on Register, name string) (*Log, error) {
	if on == nil {
		return nil, errors.New("sequence: registers are nil")
	}
	if err := paxos.CheckInstance(name); err != nil {
		return nil, fmt.Errorf("sequence: name: %w", err)
	}
	if strings.HasPrefix(name, "$") || len(name) > MaxName {
		return nil, fmt.Errorf("sequence: name %q begins with \"$\" or has more than %d bytes: %w", name, MaxName, paxos.ErrName)
	}
	var random [8]byte
	rand.Read(random[:])
	return &Log{on: on, name: name, writer: binary.BigEndian.Uint64(random[:]), most: MaxBatch}, nil
}

// Instance returns the name of the instance of a slot: "config/0000000000000017". It is empty if slot is above MaxSlot.
func (l *Log) Instance(slot uint64) string {
	if slot > MaxSlot {
		return ""
	}
	return fmt.Sprintf("%s/%0*d", l.name, digits, slot)
}

// slotOf returns the first slot with an instance that is not below name.
func (l *Log) slotOf(name string) uint64 {
	if name > l.Instance(MaxSlot) || name == "" { // the end of all names
		return MaxSlot + 1
	}
	if rest, ok := strings.CutPrefix(name, l.name+"/"); ok && len(rest) >= digits {
		if slot, err := strconv.ParseUint(rest[:digits], 10, 64); err == nil {
			if len(rest) > digits {
				slot++
			}
			return slot
		}
	}
	return 0
}

// forgotten returns err with the slot from which to go on, if err says that slot is forgotten.
func (l *Log) forgotten(err error, slot uint64) (f *ForgottenError, ok bool) {
	if !errors.Is(err, paxos.ErrForgotten) {
		return nil, false
	}
	next := slot + 1
	var names *paxos.ForgottenError
	if errors.As(err, &names) {
		next = max(next, l.slotOf(names.Names.To))
	}
	return &ForgottenError{Next: next, Err: err}, true
}

// NewEntry returns an Entry with a fresh ID, for [Log.AppendEntry]. The first call of a Log asks for the end of the sequence.
func (l *Log) NewEntry(ctx context.Context, v paxos.Value) (Entry, error) {
	if err := l.start(ctx); err != nil {
		return Entry{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return Entry{ID: newID(), From: l.next, Value: v}, nil
}

func newID() (id ID) {
	rand.Read(id[:])
	return id
}

// End returns the number of the first slot that was not decided when the call began, or was decided since. Every Append that
// returned before End began is below it.
func (l *Log) End(ctx context.Context) (uint64, error) {
	l.mu.Lock()
	from := l.next
	l.mu.Unlock()
	return l.seek(ctx, from)
}

// start finds the end of the sequence, once in the life of the Log.
func (l *Log) start(ctx context.Context) error {
	l.mu.Lock()
	found := l.found
	l.mu.Unlock()
	if found {
		return nil
	}
	end, err := l.seek(ctx, 0)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.found {
		l.found, l.next = true, end
	}
	return nil
}

// seek returns the first slot from the given one on that is not decided, by doubling steps and then halves. All slots below
// from are decided, and the decided slots have no gaps.
func (l *Log) seek(ctx context.Context, from uint64) (uint64, error) {
	low, high := from, uint64(MaxSlot+1) // all below low are decided; high is not
	for step := uint64(1); low < high; step *= 2 {
		probe := low + step - 1
		if high <= MaxSlot { // the end is bounded: halve
			probe = low + (high-low)/2
		}
		probe = min(probe, MaxSlot)
		_, ok, err := l.on.Read(ctx, l.Instance(probe))
		f, forgotten := l.forgotten(err, probe)
		switch {
		case forgotten:
			low = max(low, f.Next)
			if low > MaxSlot {
				return 0, f
			}
		case err != nil:
			return 0, err
		case ok:
			low = probe + 1
		default:
			high = probe
		}
	}
	return low, nil
}
