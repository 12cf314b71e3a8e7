package paxosweb

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/singledecree/paxos"
)

// Bounds of a Trace.
const (
	maxTraceEvents = 1000
	maxTraceBytes  = 4 << 20
)

// A Trace is what one server has noted of one instance. [TraceOf] makes it in the process of the server. [Fetch] gets it from
// the handler of another server. It has at most 1,000 events.
type Trace struct {
	Server  paxos.ServerID
	Boot    uint64
	Tracing paxos.Tracing // as it is now
	// Events are those of the instance, in their order. A Save is in it if it has a record of the instance.
	Events []paxos.Event
	// Heard says of other servers which packets this one has received, of any instance, as far as it remembers.
	Heard []Heard
	// Older says that the server kept events for a shorter time than it ran. Events of the instance may be gone.
	Older bool
	// More says that the server has later events of the instance than the 1,000 here.
	More bool
}

// Heard are the numbers of the first and the last packet that a server has received of one start of another server.
type Heard struct {
	Server      paxos.ServerID
	Boot        uint64
	First, Last uint64
}

// TraceOf returns what s has noted of the instance.
func TraceOf(s Server, instance string) Trace {
	t := Trace{Tracing: s.Tracing()}
	heard := map[Heard]Heard{}
	saves := map[uint64]bool{}
	var save paxos.Event
	for e := range s.Events(0) {
		if t.Server == 0 {
			t.Server, t.Boot, t.Older = e.Server, e.Boot, e.Seq > 1
		}
		if e.Kind == paxos.EventReceive {
			key := Heard{Server: e.Peer, Boot: e.PeerBoot}
			h, known := heard[key]
			if !known {
				h = Heard{e.Peer, e.PeerBoot, e.Packet, e.Packet}
			}
			h.First, h.Last = min(h.First, e.Packet), max(h.Last, e.Packet)
			heard[key] = h
		}
		switch {
		case e.Kind == paxos.EventSave:
			save = e
		case e.Kind == paxos.EventSaved && saves[e.Save]:
			t.add(e)
		case e.Kind == paxos.EventRecord && e.Message.Instance == instance && instance != "":
			if !saves[e.Save] && save.Save == e.Save {
				t.add(save)
			}
			saves[e.Save] = true
			t.add(e)
		case e.Message.Instance == instance && instance != "":
			t.add(e)
		}
	}
	if t.Server == 0 {
		status := s.Status()
		t.Server, t.Boot = status.ID, status.Boot
	}
	for _, h := range heard {
		t.Heard = append(t.Heard, h)
	}
	slices.SortFunc(t.Heard, func(a, b Heard) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Boot, b.Boot))
	})
	return t
}

func (t *Trace) add(e paxos.Event) {
	if len(t.Events) >= maxTraceEvents {
		t.More = true
		return
	}
	t.Events = append(t.Events, e)
}

// The form of a Trace in JSON. Times are nanoseconds.
type (
	jsonTrace struct {
		Server paxos.ServerID `json:"server"`
		Boot   uint64         `json:"boot"`
		On     bool           `json:"on"`
		OneIn  uint64         `json:"oneIn,omitempty"`
		Older  bool           `json:"older,omitempty"`
		More   bool           `json:"more,omitempty"`
		Heard  []Heard        `json:"heard,omitempty"`
		Events []jsonEvent    `json:"events,omitempty"`
	}
	jsonEvent struct {
		Kind     string         `json:"kind"`
		Seq      uint64         `json:"seq"`
		At       time.Duration  `json:"at"`
		Peer     paxos.ServerID `json:"peer,omitempty"`
		PeerBoot uint64         `json:"peerBoot,omitempty"`
		Call     uint64         `json:"call,omitempty"`
		Save     uint64         `json:"save,omitempty"`
		Packet   uint64         `json:"packet,omitempty"`
		Op       string         `json:"op,omitempty"`
		Message  jsonMessage    `json:"message,omitzero"`
		Cut      int            `json:"cut,omitempty"`
		Err      string         `json:"err,omitempty"`
	}
	jsonMessage struct {
		Kind     paxos.Kind   `json:"kind,omitzero"`
		Instance string       `json:"instance,omitempty"`
		Ballot   paxos.Ballot `json:"ballot,omitzero"`
		Promised paxos.Ballot `json:"promised,omitzero"`
		Accepted paxos.Ballot `json:"accepted,omitzero"`
		Value    paxos.Value  `json:"value,omitempty"`
	}
)

var eventNames = []string{paxos.EventCall: "call", paxos.EventDone: "done", paxos.EventSend: "send", paxos.EventReceive: "receive", paxos.EventDrop: "drop",
	paxos.EventSave: "save", paxos.EventSaved: "saved", paxos.EventLearned: "learned", paxos.EventFault: "fault", paxos.EventRecord: "record"}

// MarshalJSON returns the form that the handler serves. Errors become their texts.
func (t Trace) MarshalJSON() ([]byte, error) {
	j := jsonTrace{Server: t.Server, Boot: t.Boot, On: t.Tracing.On, OneIn: t.Tracing.OneIn, Older: t.Older, More: t.More, Heard: t.Heard}
	for _, e := range t.Events {
		if e.Kind == 0 || int(e.Kind) >= len(eventNames) {
			return nil, fmt.Errorf("Events: %d is no kind of event", e.Kind)
		}
		f := jsonEvent{Kind: eventNames[e.Kind], Seq: e.Seq, At: e.At, Peer: e.Peer, PeerBoot: e.PeerBoot, Call: e.Call, Save: e.Save, Packet: e.Packet,
			Op: e.Op, Message: jsonMessage(e.Message), Cut: e.Cut}
		if e.Err != nil {
			f.Err = e.Err.Error()
		}
		j.Events = append(j.Events, f)
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what [Trace.MarshalJSON] writes. It ignores fields that it does not know. After an error t is as before.
func (t *Trace) UnmarshalJSON(text []byte) error {
	var j jsonTrace
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	got := Trace{Server: j.Server, Boot: j.Boot, Tracing: paxos.Tracing{On: j.On, OneIn: j.OneIn}, Older: j.Older, More: j.More, Heard: j.Heard}
	switch {
	case j.Server == 0:
		return errors.New("server: 0 is no server")
	case len(j.Events) > maxTraceEvents:
		return fmt.Errorf("events: there are %d, at most %d are allowed", len(j.Events), maxTraceEvents)
	}
	for i, f := range j.Events {
		kind := slices.Index(eventNames, f.Kind)
		if kind <= 0 {
			return fmt.Errorf("events: %q is no kind of event", f.Kind)
		}
		if i > 0 && f.Seq <= j.Events[i-1].Seq {
			return fmt.Errorf("events: %d comes after %d", f.Seq, j.Events[i-1].Seq)
		}
		e := paxos.Event{Kind: paxos.EventKind(kind), Seq: f.Seq, At: f.At, Server: j.Server, Boot: j.Boot, Peer: f.Peer, PeerBoot: f.PeerBoot,
			Call: f.Call, Save: f.Save, Packet: f.Packet, Op: f.Op, Message: paxos.Message(f.Message), Cut: max(f.Cut, 0)}
		if f.Err != "" {
			e.Err = errors.New(f.Err)
		}
		got.Events = append(got.Events, e)
	}
	*t = got
	return nil
}

// Fetch returns the Trace of an instance that the handler of another server serves. base is the address at which that handler is
// mounted, such as https://two.example/paxos/. A nil client means [http.DefaultClient]. Fetch reads at most 4 MiB.
func Fetch(ctx context.Context, client *http.Client, base, instance string) (Trace, error) {
	if client == nil {
		client = http.DefaultClient
	}
	address := strings.TrimSuffix(base, "/") + "/events?" + url.Values{"instance": {instance}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Trace{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return Trace{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return Trace{}, fmt.Errorf("%s: %s", base, response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxTraceBytes+1))
	if err == nil && len(text) > maxTraceBytes {
		err = fmt.Errorf("%s: the answer has more than %d bytes", base, maxTraceBytes)
	}
	if err != nil {
		return Trace{}, err
	}
	var t Trace
	if err := json.Unmarshal(text, &t); err != nil {
		return Trace{}, fmt.Errorf("%s: %w", base, err)
	}
	return t, nil
}
