package paxostest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/words"
)

// Notes of the world, beside the events of the servers.
const (
	Lost       paxos.EventKind = 100 + iota // Message from Server to Peer is lost; Text: why, unless the script said so
	Held                                    // Message from Server to Peer is held
	Forged                                  // Message to Peer, as if from Server; no server sent it
	Crashed                                 // Server stops. Save, if not 0, was running; Text says what became of it: "lost" or "durable"
	Restarted                               // Server starts, for the Boot-th time
	SaveFailed                              // Save failed; Text says what became of its contents: "lost" or "durable". The server is down
	Wiped                                   // Server has lost its disk, and got a new one
	Stopped                                 // Server stopped by itself, because of Err
	Paused
	Resumed
)

// An Entry of the log is an event of a server, or a note of the world.
type Entry struct {
	paxos.Event
	MessageID int  // the same at the sending of a message, its arrivals and its losses; 0: none
	Late      bool // an arrival that is later than usual, or not the first one
	Text      string
	State     *paxos.ServerState // of a Save; nil: it did not change
	Records   []paxos.Record     // of a Save

	was paxos.ServerState // of a Save with a State: the one on the disk
}

// Log returns all entries, in order. The slice belongs to the Sim.
func (w *Sim) Log() []Entry { return w.log }

// Faults returns the errors of the servers that found proof of a broken protocol.
func (w *Sim) Faults() (faults []error) {
	for _, e := range w.log {
		if e.Kind == paxos.EventFault {
			faults = append(faults, e.Err)
		}
	}
	return faults
}

// Sent returns how many messages that match were sent so far. Nth does not count.
func (w *Sim) Sent(m Match) int { return w.count(paxos.EventSend, m) }

// Arrived returns how many messages that match arrived so far and were taken. Nth does not count.
func (w *Sim) Arrived(m Match) int { return w.count(paxos.EventReceive, m) }

func (w *Sim) count(kind paxos.EventKind, m Match) (n int) {
	for _, e := range w.log {
		from, to := e.Server, e.Peer
		if kind == paxos.EventReceive {
			from, to = to, from
		}
		if e.Kind == kind && m.fits(from, to, e.Message) {
			n++
		}
	}
	return n
}

// Learned reports whether a server has learned the decision of an instance since it started last.
func (w *Sim) Learned(id paxos.ServerID, instance string) (d paxos.Decision, ok bool) {
	s := w.server(id)
	if s.replica == nil {
		return d, false
	}
	if d, ok, known := s.replica.Peek(instance); known {
		return d, ok
	}
	rec := s.Disk.Records[instance]
	return paxos.Decision{Instance: instance, Value: rec.Acceptor.Value, Ballot: rec.Acceptor.Accepted}, rec.Chosen
}

// note appends an entry of the world itself.
func (w *Sim) note(e Entry) {
	if w.config.noLog {
		return
	}
	e.At = w.now
	w.add(e)
}

// add appends to the log. An Entry is large, so the log doubles its room: to append alone would copy most of a long log five times.
func (w *Sim) add(e Entry) {
	if len(w.log) == cap(w.log) {
		w.log = slices.Grow(w.log, len(w.log)+64)
	}
	w.log = append(w.log, e)
}

// logEvents appends the events of the Output of s, and lets the oracle look at each. The letters are the messages that leave with this
// Output, in the order of its EventSends.
func (w *Sim) logEvents(s *server, letters []letter) {
	for _, event := range s.out.Events {
		e := Entry{Event: event}
		switch e.Kind {
		case paxos.EventSend:
			e.MessageID, letters = letters[0].id, letters[1:]
		case paxos.EventReceive, paxos.EventDrop:
			if i := slices.IndexFunc(w.arriving, func(l letter) bool { return l.isOf(&e) }); i >= 0 {
				e.MessageID, e.Late = w.arriving[i].id, w.late
				w.arriving = slices.Delete(w.arriving, i, i+1)
			} else {
				e.MessageID = w.kept(&e)
			}
		case paxos.EventSave:
			e.Records = append(e.Records, s.out.Save.Records...)
			if s.out.Save.Server != nil {
				state := *s.out.Save.Server
				e.State, e.was = &state, s.Disk.State
			}
		case paxos.EventRecord:
			continue // the entry of the Save has it
		case paxos.EventLearned:
			w.fail(w.oracle.Learned(&s.Server, &e.Message))
		}
		w.add(e)
	}
	for _, fault := range s.out.Faults {
		if !w.network.forged {
			w.failf("server %d found a broken protocol: %w", s.ID, fault)
		}
	}
	if len(letters) != 0 {
		w.failf("server %d sent %d messages without an event", s.ID, len(letters))
	}
}

// kept returns the MessageID of a message that came earlier, and was kept by its Replica until now; 0: there was none.
func (w *Sim) kept(e *Entry) int {
	for i := len(w.network.letters) - 1; i >= 0; i-- {
		if l := &w.network.letters[i]; l.isOf(e) {
			return l.id
		}
	}
	return 0
}

// Text returns the log as lines, one for each entry: the time in milliseconds, the server, and the event.
//
//	 0  1 -> 2: prepare 1.1 "burger" @lunch
//	10  2 <- 1: prepare 1.1 "burger" @lunch
func (w *Sim) Text() string {
	var b strings.Builder
	for _, e := range w.log {
		b.WriteString(w.Line(e) + "\n")
	}
	return b.String()
}

// tail returns the last n lines of the log.
func (w *Sim) tail(n int) string {
	lines := strings.Split(strings.TrimSuffix(w.Text(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Line returns e as one line of [Sim.Text].
func (w *Sim) Line(e Entry) string {
	return fmt.Sprintf("%7s  %s", words.Milliseconds(e.At), w.describe(e))
}

// describe says in words what happened in e.
func (w *Sim) describe(e Entry) string {
	there := fmt.Sprintf("%d -> %d", e.Server, e.Peer)
	back := fmt.Sprintf("%d <- %d", e.Server, e.Peer)
	switch e.Kind {
	case paxos.EventSend:
		return there + ": " + words.Message(e.Message)
	case paxos.EventReceive:
		return back + ": " + words.Message(e.Message)
	case paxos.EventDrop:
		return back + ": drops " + words.Message(e.Message) + ": " + e.Err.Error()
	case Lost:
		if e.Text != "" {
			return there + " lost, " + e.Text + ": " + words.Message(e.Message)
		}
		return there + " lost: " + words.Message(e.Message)
	case Held:
		return there + " held: " + words.Message(e.Message)
	case Forged:
		return there + " forged: " + words.Message(e.Message)
	}
	return fmt.Sprintf("%d: %s", e.Server, w.describeLocal(e, true))
}

// describeLocal says in words what happened on one server, with the name of the instance or without.
func (w *Sim) describeLocal(e Entry, named bool) string {
	at := ""
	if named && e.Message.Instance != "" {
		at = " @" + e.Message.Instance
	}
	switch e.Kind {
	case paxos.EventCall:
		return w.callText(e) + at
	case paxos.EventDone:
		return w.doneText(e) + at
	case paxos.EventSave:
		return fmt.Sprintf("save %d begins: %s", e.Save, saveText(e, named))
	case paxos.EventSaved:
		return fmt.Sprintf("save %d is durable", e.Save)
	case paxos.EventLearned:
		return fmt.Sprintf("learns %s, chosen in %s%s", words.Quote(e.Message.Value), e.Message.Ballot, at)
	case paxos.EventFault:
		return "fault: " + e.Err.Error()
	case Crashed:
		if e.Save != 0 {
			return fmt.Sprintf("crashes; save %d is %s", e.Save, e.Text)
		}
		return "crashes"
	case Restarted:
		return fmt.Sprintf("starts, boot %d", e.Boot)
	case Wiped:
		return "loses its disk, and is made anew"
	case SaveFailed:
		return fmt.Sprintf("save %d fails, and what it held is %s", e.Save, e.Text)
	case Stopped:
		return "stops by itself: " + e.Err.Error()
	case Paused:
		return "pauses"
	case Resumed:
		return "resumes"
	}
	return fmt.Sprintf("event %d", e.Kind)
}

func (w *Sim) callText(e Entry) string {
	c := w.calls[e.Call-1]
	switch c.Op {
	case "propose":
		return "propose " + words.Quote(c.Value)
	case "forget":
		if name, one := c.Names.One(); !one || name == "" {
			return "forget " + c.Names.String()
		}
	case "change":
		return "change to " + words.Acceptors(c.Next)
	}
	return c.Op
}

func (w *Sim) doneText(e Entry) string {
	c := w.calls[e.Call-1]
	switch {
	case e.Err != nil:
		return "fails: " + e.Err.Error()
	case c.Op == "ready" || c.Op == "forget" || c.Op == "settled":
		return "returns"
	case c.Decision == paxos.Decision{}:
		return "returns that nothing was chosen"
	}
	return "returns " + words.Quote(e.Message.Value)
}

// saveText says what a Save holds.
func saveText(e Entry, named bool) string {
	var parts []string
	for _, rec := range e.Records {
		at := ""
		if isNamed(rec.Instance, named) {
			at = " @" + rec.Instance
		}
		parts = append(parts, words.Record(rec)+at)
	}
	if e.State != nil {
		parts = append(parts, changeText(e)...)
	}
	if len(parts) == 0 && e.State != nil {
		parts = append(parts, stateText(e, named))
	}
	return strings.Join(parts, ", ")
}

// changeText says how far a change of members came with a Save, and which standing ballot was promised.
func changeText(e Entry) (parts []string) {
	was, now := &e.was, e.State
	if now.Configuration != was.Configuration {
		return append(parts, "sealed")
	}
	if now.Import == paxos.ImportComplete && was.Import != now.Import {
		parts = append(parts, "complete")
	}
	if now.Before == "" && was.Before != "" {
		parts = append(parts, "settled")
	}
	if now.Floor != was.Floor {
		parts = append(parts, "promised "+now.Floor.String()+" for all names")
	}
	return parts
}

// stateText says what a Save holds that has nothing but a ServerState.
func stateText(e Entry, named bool) string {
	text := fmt.Sprintf("boot %d, rounds to %d", e.State.Boot, e.State.Rounds)
	if e.State.Boot == e.was.Boot && e.State.Rounds == e.was.Rounds && e.State.Import != e.was.Import {
		return "how far the import came"
	}
	switch {
	case e.State.Pulled != "" && named:
		text += ", pulled " + e.State.Pulled
	case e.State.Pulled != "":
		text = "how far the names came"
	}
	return text
}

// shortError returns err in few words.
func shortError(err error) string {
	var op *paxos.OpError
	if !errors.As(err, &op) || len(op.Answered)+len(op.Silent) == 0 {
		return err.Error()
	}
	return fmt.Sprintf("no quorum in %s", op.Phase)
}
