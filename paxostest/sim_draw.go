package paxostest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/spacetime"
	"github.com/singledecree/paxos/internal/words"
)

// Legend explains the marks of [Sim.Draw].
const Legend = `●───► a message, from its sending to its arrival    ●───✗ lost
●┄ ①  a message that arrives late: ① ┄► is where    ◆ a call, or its end    ★ learns the decision
■ saved: it survives a crash                        □ … ■ a save during which something else happens
╳ crashes    ◇ starts again    ms: milliseconds since the beginning, from–to
`

// Widths of a diagram.
const (
	widthFew  = 110 // up to 3 servers
	widthMany = 140
)

// Draw returns the log as a space-time diagram. If all that happened was in one instance, its name is left out. Instances that servers
// keep for themselves do not count.
func (w *Sim) Draw() string { return w.DrawWithout() }

// DrawWithout returns the diagram of [Sim.Draw] without the messages of those kinds. Without Names, it also has no Save that only tells
// how far these came.
func (w *Sim) DrawWithout(kinds ...paxos.Kind) string {
	lanes, events := w.diagram(kinds)
	width := widthFew
	if len(lanes) > 3 {
		width = widthMany
	}
	return spacetime.Draw(lanes, events, width)
}

// PaintWithout returns the diagram of [Sim.DrawWithout] as SVG, and its rows in words: the time, a tab, and the rest. The SVG has classes in
// place of colours, and every text in it is escaped. Package paxosweb shows it: see its type Story.
func (w *Sim) PaintWithout(kinds ...paxos.Kind) (svg string, steps []string) {
	picture := spacetime.Paint(w.diagram(kinds))
	for _, s := range picture.Steps {
		steps = append(steps, s.Time+"\t"+s.Text)
	}
	return picture.SVG, steps
}

// diagram returns the lanes and the events of a diagram without the messages of those kinds.
func (w *Sim) diagram(kinds []paxos.Kind) (lanes []string, events []spacetime.Event) {
	for _, s := range w.servers {
		name := fmt.Sprintf("server %d", s.ID)
		if int(s.ID) > len(w.members.Acceptors) {
			name += " (learner)"
		}
		lanes = append(lanes, name)
	}
	for id := len(w.servers) + 1; id <= w.farthest(); id++ { // members know it, and it was never started
		lanes = append(lanes, fmt.Sprintf("server %d (never there)", id))
	}
	named := w.instances() > 1
	unsaid := map[paxos.ServerID]bool{} // by server, whether its last Save is left out
	for i, e := range w.log {
		if text, joined := w.learnedAndReturned(i); joined {
			if e.Kind == paxos.EventLearned {
				events = append(events, spacetime.Event{Kind: spacetime.Note, At: e.At, Lane: int(e.Server) - 1, Symbol: '★', Text: text})
			}
			continue
		}
		if e.Kind == paxos.EventSave {
			unsaid[e.Server] = e.tellsOnlyNames() && slices.Contains(kinds, paxos.KindNames)
		}
		isSave := e.Kind == paxos.EventSave || e.Kind == paxos.EventSaved
		if isSave && unsaid[e.Server] || e.MessageID != 0 && slices.Contains(kinds, e.Message.Kind) {
			continue
		}
		events = append(events, w.event(e, named)...)
	}
	return lanes, events
}

// farthest returns the highest ID of a server to which something was sent.
func (w *Sim) farthest() (id int) {
	for _, e := range w.log {
		if e.MessageID != 0 {
			id = max(id, int(e.Peer), int(e.Server))
		}
	}
	return id
}

// tellsOnlyNames reports whether a Save tells only how far the names of others came.
func (e *Entry) tellsOnlyNames() bool {
	if len(e.Records) > 0 || e.State == nil {
		return false
	}
	was := e.was
	was.Pulled = e.State.Pulled
	return was == *e.State
}

// instances counts the instances that the log tells of.
func (w *Sim) instances() int {
	names := map[string]bool{}
	for _, e := range w.log {
		if e.Message.Instance != "" && e.Message.Instance[0] != '$' {
			names[e.Message.Instance] = true
		}
	}
	return len(names)
}

// isNamed reports whether the name of an instance is told where those of others are told, or not. That of a configuration always is.
func isNamed(instance string, others bool) bool {
	_, ok := paxos.ConfigurationNumber(instance)
	return ok || others
}

// learnedAndReturned returns one text for two entries: a server learns, and at once ends a call.
func (w *Sim) learnedAndReturned(i int) (text string, ok bool) {
	if w.log[i].Kind == paxos.EventDone {
		i--
	}
	if i < 0 || i+1 >= len(w.log) {
		return "", false
	}
	learned, done := w.log[i], w.log[i+1]
	if learned.Kind != paxos.EventLearned || done.Kind != paxos.EventDone || done.Server != learned.Server || done.Err != nil {
		return "", false
	}
	return fmt.Sprintf("learns %s, returns it", words.Quote(learned.Message.Value)), true
}

// event returns an entry of the log as events of the diagram.
func (w *Sim) event(e Entry, named bool) []spacetime.Event {
	d := spacetime.Event{Kind: spacetime.Note, At: e.At, Lane: int(e.Server) - 1, Message: e.MessageID, Late: e.Late}
	m := e.Message
	if !isNamed(m.Instance, named) {
		m.Instance = ""
	}
	if int(e.Peer) > len(w.servers) {
		return nil // a stranger has no lane
	}
	switch e.Kind {
	case paxos.EventSend, Forged:
		d.Kind, d.Peer, d.Text = spacetime.Send, int(e.Peer)-1, words.Brief(m)
		if e.Kind == Forged {
			d.Text = "forged: " + d.Text
		}
	case paxos.EventReceive:
		d.Kind = spacetime.Arrive
	case paxos.EventDrop:
		arrival := d
		arrival.Kind = spacetime.Arrive
		d.Symbol, d.Text = '✗', "dropped: "+e.Err.Error()
		return []spacetime.Event{arrival, d}
	case Lost:
		d.Kind = spacetime.Lose
	case Held:
		return nil
	case paxos.EventSave:
		d.Kind, d.Text = spacetime.Begin, saveText(e, named)
	case paxos.EventSaved:
		d.Kind, d.Text = spacetime.End, "saved"
	case Crashed:
		d.Kind, d.Text = spacetime.Crash, "crashes"
		if e.Save != 0 {
			d.Text = "crashes: save " + e.Text
		}
	case Restarted:
		d.Kind, d.Text = spacetime.Restart, fmt.Sprintf("starts again (boot %d)", e.Boot)
	case Wiped:
		d.Kind, d.Text = spacetime.Crash, "its disk is lost, and made anew"
	case SaveFailed:
		d.Kind, d.Text = spacetime.Crash, "its disk fails: save "+e.Text
	case Stopped:
		d.Kind, d.Text = spacetime.Crash, "stops: "+e.Err.Error()
	case Paused:
		d.Kind, d.Text = spacetime.Pause, "pauses"
	case Resumed:
		d.Kind, d.Text = spacetime.Resume, "resumes"
	case paxos.EventCall:
		d.Symbol, d.Text = '◆', w.callText(e)
	case paxos.EventDone:
		d.Symbol, d.Text = '◆', w.doneText(e)
		if e.Err != nil {
			d.Text = "fails: " + shortError(e.Err)
		}
	case paxos.EventLearned:
		d.Symbol, d.Text = '★', "learns "+words.Quote(m.Value)
	case paxos.EventFault:
		var fault *paxos.SafetyError
		d.Symbol, d.Text = '!', "protocol broken"
		if errors.As(e.Err, &fault) {
			d.Text += ": " + fault.Reason
		}
	}
	return []spacetime.Event{d}
}
